//! QR codes.

use std::fmt::{self, Write as _};

use qrcode::render::unicode;
use qrcode::{Color, EcLevel, QrCode};

use vpnkit_core::{Error, ErrorKind, Result};

/// Light modules around the code, as the standard asks for.
const QUIET: usize = 4;
/// The largest picture, in pixels a side.
const MAX_PIXELS: u32 = 4_096;

/// A QR code of a link.
///
/// ```
/// let qr = vpnkit_subscription::Qr::new("vless://…")?;
/// assert!(qr.to_terminal().contains('█'));
/// assert!(qr.to_svg().starts_with("<svg"));
/// std::fs::write(std::env::temp_dir().join("alice.png"), qr.to_png(512)?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Qr(QrCode);

impl fmt::Debug for Qr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qr").field("width", &self.0.width()).finish_non_exhaustive()
    }
}

impl Qr {
    /// Encodes a text. Links are long and screens are clean, so the lowest error correction is used.
    pub fn new(text: &str) -> Result<Self> {
        QrCode::with_error_correction_level(text, EcLevel::L).map(Self).map_err(|e| {
            Error::new(ErrorKind::InvalidInput, "qr", "the text is too long for a QR code")
                .with("field", "text")
                .with("bytes", text.len())
                .caused_by(e.to_string())
        })
    }

    /// For a terminal with a dark background, two modules a character.
    #[must_use]
    pub fn to_terminal(&self) -> String {
        self.0
            .render::<unicode::Dense1x2>()
            .dark_color(unicode::Dense1x2::Light)
            .light_color(unicode::Dense1x2::Dark)
            .build()
    }

    /// A black and white PNG, at most `size` pixels a side: the largest at which every module has the same whole
    /// number of pixels, so that it stays sharp.
    ///
    /// Errors: `InvalidInput` about `size` when the code does not fit or it is over 4,096.
    pub fn to_png(&self, size: u32) -> Result<Vec<u8>> {
        let fault = |message: String| Error::invalid("qr.png", "size", message).with("value", size);
        let modules = self.side();
        let scale = usize::try_from(size).unwrap_or(usize::MAX) / modules;
        if scale == 0 || size > MAX_PIXELS {
            return Err(fault(format!("must be {modules} to {MAX_PIXELS} pixels for this code")));
        }
        let side = u32::try_from(modules * scale).map_err(|_| fault("too large".into()))?;
        let mut picture = Vec::new();
        let mut encoder = png::Encoder::new(&mut picture, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let lost = |e: png::EncodingError| {
            Error::new(ErrorKind::Unexpected, "qr.png", "the picture was not written").caused_by(e)
        };
        let mut writer = encoder.write_header().map_err(lost)?;
        let mut rows = Vec::new();
        for y in 0..modules {
            let mut row = vec![0u8; (modules * scale).div_ceil(8)];
            for x in (0..modules * scale).filter(|x| !self.dark(x / scale, y)) {
                if let Some(byte) = row.get_mut(x / 8) {
                    *byte |= 0x80 >> (x % 8);
                }
            }
            rows.extend(row.repeat(scale));
        }
        writer.write_image_data(&rows).map_err(lost)?;
        writer.finish().map_err(lost)?;
        Ok(picture)
    }

    /// A black and white SVG without a size of its own: one unit a module.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let side = self.side();
        let mut path = String::new();
        for y in 0..side {
            let mut x = 0;
            while x < side {
                let run = (x..side).take_while(|&x| self.dark(x, y)).count();
                if run > 0 {
                    // Writing to a String does not fail.
                    let _ = write!(path, "M{x} {y}h{run}v1h-{run}z");
                }
                x += run + 1;
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
             <path fill=\"#fff\" d=\"M0 0h{side}v{side}h-{side}z\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
        )
    }

    /// Modules a side with the light border.
    fn side(&self) -> usize {
        self.0.width() + 2 * QUIET
    }

    fn dark(&self, x: usize, y: usize) -> bool {
        let inside = QUIET..QUIET + self.0.width();
        inside.contains(&x) && inside.contains(&y) && self.0[(x - QUIET, y - QUIET)] == Color::Dark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "vless://11111111-2222-4333-8444-555555555555@vpn.example.com:443?encryption=none&flow=xtls-rprx-vision\
                        &type=tcp&security=reality&sni=www.example.com&fp=chrome&pbk=0123456789abcdef&sid=0123#example";

    fn read(side: usize, dark: impl Fn(usize, usize) -> bool) -> String {
        let luma = |x, y| if dark(x, y) { 0 } else { 255 };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side, side, luma);
        let codes = image.detect_grids();
        codes.first().unwrap().decode().unwrap().1
    }

    #[test]
    fn a_png_is_read_by_another_decoder() {
        for size in [100, 512, 1_000] {
            let png = Qr::new(LINK).unwrap().to_png(size).unwrap();
            let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
            let mut bits = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut bits).unwrap();
            assert!(info.width <= size && info.width > size / 2, "{} of {size}", info.width);
            let side = usize::try_from(info.width).unwrap();
            let text = read(side, |x, y| bits[y * info.line_size + x / 8] & (0x80 >> (x % 8)) == 0);
            assert_eq!(text, LINK);
        }
    }

    #[test]
    fn an_svg_has_the_same_modules() {
        let svg = Qr::new(LINK).unwrap().to_svg();
        let path = svg.rsplit_once("d=\"").unwrap().1.split_once('"').unwrap().0;
        let number = |text: &str| text.parse::<usize>().unwrap();
        let dark: std::collections::BTreeSet<(usize, usize)> = path
            .split('M')
            .skip(1)
            .flat_map(|run| {
                let (place, length) = run.split_once('h').unwrap();
                let (x, y) = place.split_once(' ').unwrap();
                let (x, y, length) = (number(x), number(y), number(length.split_once('v').unwrap().0));
                (x..x + length).map(move |x| (x, y))
            })
            .collect();
        let side: usize =
            svg.split("viewBox=\"0 0 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let scale = 4;
        assert_eq!(read(side * scale, |x, y| dark.contains(&(x / scale, y / scale))), LINK);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let qr = Qr::new(LINK).unwrap();
        for size in [0, 20, 5_000, u32::MAX] {
            assert_eq!(qr.to_png(size).unwrap_err().get("field"), Some("size"), "{size}");
        }
        assert_eq!(Qr::new(&"x".repeat(5_000)).unwrap_err().get("field"), Some("text"));
    }
}
