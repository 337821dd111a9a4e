//! The attribute [`operations`]: makes the public methods of a noun callable by name with JSON arguments.

mod block;
mod method;
mod parameter;

use proc_macro::TokenStream;
use syn::{ItemImpl, parse_macro_input};

/// Describes the methods of an impl block that are marked with `#[operation]`.
///
/// The block keeps its methods as they are and gains the constant `OPERATIONS`: for each marked method its name, its
/// documentation, the JSON Schema of its arguments and of its result, and a function that reads the arguments and makes
/// the call.
///
/// - On the block: `noun` is the first part of the operation's name (`""` for the kit itself), `handle` the function
///   that makes the noun from `&Engine`.
/// - On a method: `#[operation(read)]` or `#[operation(change)]`; besides `inline` (short enough to run on the thread that
///   is woken by the store), `anyone` (needs no actor), `dry_run` (a change that can be tried), `own` (open to resellers, for what is
///   their own) and `name = "verb"` where the name differs from the method's.
/// - On a parameter: `#[arg(default = expression)]`; `#[arg(record)]` for one whose fields errors name without it;
///   `#[arg(spread)]` for such a one whose fields languages offer as arguments; `#[arg(positional)]` for an optional one
///   that languages take by place; `#[arg(required)]` for an `Option` that must be given; `#[arg(format = "text")]` for
///   its schema.
#[proc_macro_attribute]
pub fn operations(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(attribute as block::Options);
    let block = parse_macro_input!(item as ItemImpl);
    block::expand(&options, block).unwrap_or_else(|e| e.to_compile_error()).into()
}
