//! The impl block.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, Ident, ImplItem, ItemImpl, LitStr, Result, Token};

use crate::method::Method;

/// `noun = "keys", handle = Engine::keys`.
pub(crate) struct Options {
    pub(crate) noun: String,
    pub(crate) handle: Expr,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (mut noun, mut handle) = (None, None);
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            if name == "noun" {
                noun = Some(input.parse::<LitStr>()?.value());
            } else if name == "handle" {
                handle = Some(input.parse()?);
            } else {
                return Err(syn::Error::new(name.span(), "expected `noun` or `handle`"));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        match (noun, handle) {
            (Some(noun), Some(handle)) => Ok(Self { noun, handle }),
            _ => Err(input.error("`noun` and `handle` are needed")),
        }
    }
}

pub(crate) fn expand(options: &Options, mut block: ItemImpl) -> Result<TokenStream> {
    let mut methods = Vec::new();
    for item in &mut block.items {
        if let ImplItem::Fn(function) = item {
            methods.extend(Method::take(&options.noun, function)?);
        }
    }
    let subject = &block.self_ty;
    let arguments = methods.iter().map(Method::arguments);
    let schemas = methods.iter().map(Method::schema);
    let descriptions = methods.iter().map(|method| method.description(&options.handle));
    Ok(quote! {
        #block

        const _: () = {
            #(#arguments)*

            impl #subject {
                /// The operations of this noun: what can be called by name.
                pub const OPERATIONS: &'static [::vpnkit_engine::operation::Operation] = &[#(#descriptions),*];
                /// Their schemas: apart, so that a program that does not ask for them does not have them.
                pub const SCHEMAS: &'static [::vpnkit_engine::operation::OperationSchema] = &[#(#schemas),*];
            }
        };
    })
}
