//! What the `.proto` files of this crate compile to.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::use_self,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]

pub mod xray {
    pub mod common {
        pub mod serial {
            tonic::include_proto!("xray.common.serial");
        }
        pub mod protocol {
            tonic::include_proto!("xray.common.protocol");
        }
    }
    pub mod app {
        pub mod proxyman {
            pub mod command {
                tonic::include_proto!("xray.app.proxyman.command");
            }
        }
        pub mod stats {
            pub mod command {
                tonic::include_proto!("xray.app.stats.command");
            }
        }
    }
}

pub mod accounts {
    tonic::include_proto!("vpnkit.accounts");
}
