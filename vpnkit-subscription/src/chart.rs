//! Charts of usage: SVG and PNG from one drawing.

use std::fmt;
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use ab_glyph::{Font as _, FontRef, PxScale, ScaleFont as _};
use calendrical_calculations::gregorian::gregorian_from_fixed;
use calendrical_calculations::rata_die::RataDie;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use vpnkit_core::model::{ByteSize, Traffic, UsagePoint, UsageStep};
use vpnkit_core::{Error, ErrorKind, Result, Timestamp};

/// The drawing's own units; a picture is scaled from them.
const WIDTH: f32 = 720.0;
const HEIGHT: f32 = 280.0;
const LEFT: f32 = 76.0;
const RIGHT: f32 = 12.0;
const TOP: f32 = 16.0;
const BOTTOM: f32 = 30.0;
const LETTERS: f32 = 13.0;
/// Lines across, the lowest one aside.
const LINES: u16 = 4;
/// The most bars that can be told apart.
const BARS_MAX: usize = 400;
/// The largest picture, in pixels across.
const MAX_PIXELS: u32 = 4_096;

/// DejaVu Sans, reduced to the letters of dates and sizes: assets/README.md.
static FONT: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(include_bytes!("../assets/DejaVuSans-ascii.ttf")).ok());

/// Light or dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// Dark on white.
    #[default]
    Light,
    /// Light on near black.
    Dark,
}

type Color = [u8; 3];

struct Palette {
    paper: Color,
    ink: Color,
    line: Color,
    up: Color,
    down: Color,
}

impl Theme {
    const fn palette(self) -> Palette {
        match self {
            Self::Light => Palette {
                paper: [255, 255, 255],
                ink: [75, 85, 99],
                line: [229, 231, 235],
                up: [245, 158, 11],
                down: [37, 99, 235],
            },
            Self::Dark => Palette {
                paper: [17, 24, 39],
                ink: [156, 163, 175],
                line: [55, 65, 81],
                up: [251, 191, 36],
                down: [96, 165, 250],
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Anchor {
    Middle,
    End,
}

enum Mark {
    Bar { class: &'static str, color: Color, x: f32, y: f32, width: f32, height: f32 },
    Text { x: f32, y: f32, anchor: Anchor, text: String },
}

/// Usage over time as bars: what was received below, what was sent on top of it.
///
/// ```
/// use vpnkit_core::Timestamp;
/// use vpnkit_core::model::UsageStep;
/// use vpnkit_subscription::{Theme, UsageChart};
/// let (from, to) = (Timestamp::from_secs(0), Timestamp::from_secs(30 * 86_400));
/// let chart = UsageChart::new(&[], from, to, UsageStep::Day)?;
/// assert!(chart.to_svg(Theme::Light).starts_with("<svg"));
/// std::fs::write(std::env::temp_dir().join("usage.png"), chart.to_png(Theme::Dark, 1_080)?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct UsageChart {
    bars: Vec<(Timestamp, Traffic)>,
    step: UsageStep,
}

impl UsageChart {
    /// A chart of `points` from `from` up to, not including, `to`. Steps without a point are empty.
    ///
    /// Errors: `InvalidInput` about `step` for months, about `to` when there would be no bar or more than 400.
    pub fn new(points: &[UsagePoint], from: Timestamp, to: Timestamp, step: UsageStep) -> Result<Self> {
        let (width, start) = match step {
            UsageStep::Hour => (3_600, from.hour()),
            UsageStep::Day => (86_400, from.day()),
            UsageStep::Month => {
                return Err(Error::invalid("chart", "step", "a chart has hours or days"));
            }
        };
        let span = to.since(start).as_millis().div_ceil(u128::from(width) * 1_000);
        let count = usize::try_from(span).unwrap_or(usize::MAX);
        if count == 0 || count > BARS_MAX {
            return Err(
                Error::invalid("chart", "to", format!("must give 1 to {BARS_MAX} bars")).with("bars", count)
            );
        }
        let at = |i: usize| start.plus(Duration::from_secs(width * u64::try_from(i).unwrap_or(0)));
        let bars = (0..count).map(|i| {
            let traffic =
                points.iter().find(|point| point.at == at(i)).map_or_else(Traffic::default, |p| p.traffic);
            (at(i), traffic)
        });
        Ok(Self { bars: bars.collect(), step })
    }

    /// As SVG. Bars have the classes `up` and `down`, everything else `line`, `ink` and `paper`, so that a page may
    /// give them its own colours.
    #[must_use]
    pub fn to_svg(&self, theme: Theme) -> String {
        let palette = theme.palette();
        let hex = |[r, g, b]: Color| format!("#{r:02x}{g:02x}{b:02x}");
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             font-family=\"system-ui,sans-serif\" font-size=\"{LETTERS}\">\
             <path class=\"paper\" fill=\"{}\" d=\"M0 0h{WIDTH}v{HEIGHT}H0z\"/>",
            hex(palette.paper)
        );
        for mark in self.marks(&palette) {
            // Writing to a String does not fail.
            let _ = match mark {
                Mark::Bar { class, color, x, y, width, height } => write!(
                    svg,
                    "<path class=\"{class}\" fill=\"{}\" d=\"M{x:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z\"/>",
                    hex(color)
                ),
                Mark::Text { x, y, anchor, text } => write!(
                    svg,
                    "<text class=\"ink\" fill=\"{}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{}\">{text}</text>",
                    hex(palette.ink),
                    match anchor {
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    }
                ),
            };
        }
        svg.push_str("</svg>");
        svg
    }

    /// As PNG, `width` pixels across.
    ///
    /// Errors: `InvalidInput` about `width` unless it is 200 to 4,096.
    pub fn to_png(&self, theme: Theme, width: u32) -> Result<Vec<u8>> {
        if !(200..=MAX_PIXELS).contains(&width) {
            return Err(Error::invalid("chart.png", "width", format!("must be 200 to {MAX_PIXELS} pixels"))
                .with("value", width));
        }
        let palette = theme.palette();
        let mut picture = Picture::new(width, palette.paper);
        for mark in self.marks(&palette) {
            match mark {
                Mark::Bar { color, x, y, width, height, .. } => picture.bar(color, x, y, width, height),
                Mark::Text { x, y, anchor, text } => picture.text(palette.ink, x, y, anchor, &text),
            }
        }
        picture.encode()
    }

    fn marks(&self, palette: &Palette) -> Vec<Mark> {
        let largest = self.bars.iter().map(|(_, traffic)| traffic.total()).max().unwrap_or(0);
        let top = ceiling(largest);
        let (across, high) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        let floor = TOP + high;
        let mut marks = Vec::new();
        for i in 0..=LINES {
            let share = f32::from(i) / f32::from(LINES);
            let y = floor - share * high;
            let line =
                Mark::Bar { class: "line", color: palette.line, x: LEFT, y, width: across, height: 1.0 };
            marks.push(line);
            let size = ByteSize::from_bytes(top / u64::from(LINES) * u64::from(i));
            marks.push(Mark::Text { x: LEFT - 8.0, y: y + 4.5, anchor: Anchor::End, text: size.to_string() });
        }
        let count = small(self.bars.len());
        let slot = across / count;
        let every = (self.bars.len().div_ceil(8)).max(1);
        for (i, (at, traffic)) in self.bars.iter().enumerate() {
            let x = LEFT + slot * small(i);
            let mut y = floor;
            for (class, color, bytes) in
                [("down", palette.down, traffic.down), ("up", palette.up, traffic.up)]
            {
                let height = high * share(bytes, top);
                if height > 0.0 {
                    y -= height;
                    marks.push(Mark::Bar { class, color, x: x + slot * 0.12, y, width: slot * 0.76, height });
                }
            }
            if i % every == 0 {
                let text = self.label(*at);
                marks.push(Mark::Text { x: x + slot / 2.0, y: HEIGHT - 10.0, anchor: Anchor::Middle, text });
            }
        }
        marks
    }

    fn label(&self, at: Timestamp) -> String {
        let days = at.as_secs().div_euclid(86_400) + 719_163;
        match self.step {
            UsageStep::Hour => format!("{:02}:00", at.as_secs().div_euclid(3_600).rem_euclid(24)),
            UsageStep::Day | UsageStep::Month => match gregorian_from_fixed(RataDie::new(days)) {
                Ok((_, month, day)) => format!("{day:02}.{month:02}"),
                Err(_) => String::new(),
            },
        }
    }
}

/// Up to [`BARS_MAX`], so that nothing is lost.
fn small(number: usize) -> f32 {
    f32::from(u16::try_from(number).unwrap_or(u16::MAX))
}

fn share(bytes: u64, of: u64) -> f32 {
    let thousandths = u128::from(bytes) * 10_000 / u128::from(of.max(1));
    f32::from(u16::try_from(thousandths).unwrap_or(u16::MAX)) / 10_000.0
}

/// The next round size above: a quarter of it is round too.
fn ceiling(bytes: u64) -> u64 {
    let mut unit = 1u64 << 10;
    loop {
        for step in [4, 8, 20, 40, 80, 200, 400, 800] {
            let top = unit.saturating_mul(step);
            if top >= bytes {
                return top;
            }
        }
        unit = unit.saturating_mul(1 << 10);
        if unit == u64::MAX {
            return bytes;
        }
    }
}

struct Picture {
    scale: f32,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}×{})", self.width, self.height)
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places on a picture of at most 4,096 pixels; `as` saturates and `blend` drops what lies outside"
)]
impl Picture {
    fn new(across: u32, paper: Color) -> Self {
        let scale = small(usize::try_from(across).unwrap_or(0)) / WIDTH;
        let width = usize::try_from(across).unwrap_or(0);
        let height = (HEIGHT * scale).round() as usize;
        Self { scale, width, height, pixels: paper.repeat(width * height) }
    }

    /// Mixes a pixel with `color`; `cover` is 0 to 1.
    fn blend(&mut self, x: usize, y: usize, color: Color, cover: f32) {
        if x >= self.width || y >= self.height {
            return;
        }
        let start = (y * self.width + x) * 3;
        let cover = cover.clamp(0.0, 1.0);
        if let Some(pixel) = self.pixels.get_mut(start..start + 3) {
            for (old, new) in pixel.iter_mut().zip(color) {
                *old = (f32::from(*old) + (f32::from(new) - f32::from(*old)) * cover).round() as u8;
            }
        }
    }

    fn bar(&mut self, color: Color, x: f32, y: f32, width: f32, height: f32) {
        let s = self.scale;
        let (left, top, right, bottom) = (x * s, y * s, (x + width) * s, (y + height) * s);
        // What of a pixel lies inside: edges between pixels are soft.
        let inside =
            |pixel: usize, low: f32, high: f32| (small(pixel) + 1.0).min(high) - small(pixel).max(low);
        for row in top as usize..bottom.ceil() as usize {
            for column in left as usize..right.ceil() as usize {
                let cover = inside(column, left, right) * inside(row, top, bottom);
                self.blend(column, row, color, cover);
            }
        }
    }

    fn text(&mut self, color: Color, x: f32, y: f32, anchor: Anchor, text: &str) {
        let Some(font) = &*FONT else { return };
        let size = PxScale::from(LETTERS * self.scale * 1.16);
        let scaled = font.as_scaled(size);
        let width: f32 = text.chars().map(|c| scaled.h_advance(font.glyph_id(c))).sum();
        let mut pen = x * self.scale
            - match anchor {
                Anchor::Middle => width / 2.0,
                Anchor::End => width,
            };
        for letter in text.chars() {
            let id = font.glyph_id(letter);
            let glyph = id.with_scale_and_position(size, ab_glyph::point(pen, y * self.scale));
            pen += scaled.h_advance(id);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x.max(0.0) as usize, bounds.min.y.max(0.0) as usize);
            outline.draw(|column, row, cover| {
                let at = |start: usize, step: u32| start + usize::try_from(step).unwrap_or(0);
                self.blend(at(left, column), at(top, row), color, cover);
            });
        }
    }

    fn encode(self) -> Result<Vec<u8>> {
        let lost = |e: png::EncodingError| {
            Error::new(ErrorKind::Unexpected, "chart.png", "the picture was not written").caused_by(e)
        };
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(0);
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, side(self.width), side(self.height));
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(lost)?;
        writer.write_image_data(&self.pixels).map_err(lost)?;
        writer.finish().map_err(lost)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(days: u64, used: &[(u64, u64, u64)]) -> UsageChart {
        let at = |day: u64| Timestamp::from_secs(20_000 * 86_400).plus(Duration::from_secs(day * 86_400));
        let points: Vec<UsagePoint> = used
            .iter()
            .map(|&(day, up, down)| UsagePoint {
                at: at(day),
                traffic: Traffic { up, down },
                step: UsageStep::Day,
            })
            .collect();
        UsageChart::new(&points, at(0), at(days), UsageStep::Day).unwrap()
    }

    fn decoded(png: Vec<u8>) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn both_pictures_show_the_same_bars() {
        let chart = chart(30, &[(0, 1 << 30, 3 << 30), (29, 0, 1 << 10)]);
        let svg = chart.to_svg(Theme::Light);
        assert_eq!(svg.matches("class=\"down\"").count(), 1, "a bar below a ten-thousandth is not drawn");
        assert_eq!(svg.matches("class=\"up\"").count(), 1);
        for text in ["0 B", "1 GiB", "4 GiB", "04.10"] {
            assert!(svg.contains(&format!(">{text}<")), "{text} in {svg}");
        }
        let (width, height, pixels) = decoded(chart.to_png(Theme::Light, 720).unwrap());
        assert_eq!((width, height), (720, 280));
        let count = |color: Color| pixels.chunks(3).filter(|pixel| *pixel == color).count();
        let palette = Theme::Light.palette();
        let (down, up) = (count(palette.down), count(palette.up));
        assert!(down > 2 * up && up > 500, "{down} {up}");
    }

    #[test]
    fn sizes_and_spans_that_cannot_be_are_refused() {
        for width in [0, 199, 4_097] {
            let error = chart(7, &[]).to_png(Theme::Dark, width).unwrap_err();
            assert_eq!(error.get("field"), Some("width"));
        }
        let t = Timestamp::from_secs(1_000_000);
        for (to, step) in
            [(t.day(), UsageStep::Day), (t.plus(Duration::from_secs(86_400 * 401)), UsageStep::Day)]
        {
            assert_eq!(UsageChart::new(&[], t, to, step).unwrap_err().get("field"), Some("to"));
        }
    }

    #[test]
    fn the_scale_is_round() {
        for (bytes, top) in [(0, 4 << 10), (5 << 20, 8 << 20), (21 << 30, 40 << 30), (801 << 20, 4 << 30)] {
            assert_eq!(ceiling(bytes), top, "{bytes}");
        }
        assert!(ceiling(u64::MAX) >= u64::MAX / 2);
    }
}
