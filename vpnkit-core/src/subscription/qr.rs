//! QR codes.

use std::fmt;

use qrcode::render::unicode;
use qrcode::{EcLevel, QrCode};

use crate::{Error, ErrorKind, Result};

/// A QR code of a link.
///
/// ```
/// let qr = vpnkit_core::subscription::Qr::new("vless://…")?;
/// assert!(qr.to_terminal().contains('█'));
/// # Ok::<(), vpnkit_core::Error>(())
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
}
