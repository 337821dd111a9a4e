//! From endpoints to what people and client apps read.

mod link;
mod qr;
pub mod xray_json;

pub use link::link;
pub use qr::Qr;
