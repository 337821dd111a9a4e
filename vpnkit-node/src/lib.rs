//! The native half of the npm package `vpnkit`: calls go in as the name of an operation and JSON, answers come out as
//! promises of JSON. The package in `lib/` makes both friendly.
#![allow(
    unreachable_pub,
    reason = "napi exports methods that are public, of types that only JavaScript sees"
)]

mod batch;
mod bridge;
mod kit;
mod plain;
mod restore;
