//! One parameter of a method.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{
    Expr, GenericArgument, Ident, Meta, Pat, PatType, PathArguments, Result, Token, Type, TypeParamBound,
    parse_quote,
};

pub(crate) struct Parameter {
    name: Ident,
    /// As the method takes it, owned.
    owned: Type,
    pass: Pass,
    default: Option<Expr>,
    format: Option<Expr>,
    spread: bool,
    record: bool,
    positional: bool,
    required: bool,
}

/// How an owned value becomes what the method takes.
enum Pass {
    Value,
    Reference,
    Deref,
}

impl Parameter {
    /// Reads a parameter and takes its marks away.
    pub(crate) fn take(typed: &mut PatType) -> Result<Self> {
        let Pat::Ident(pattern) = &*typed.pat else {
            return Err(syn::Error::new_spanned(&typed.pat, "a parameter of an operation has a name"));
        };
        let name = pattern.ident.clone();
        let (owned, pass) = owned(&typed.ty);
        let mut parameter = Self {
            name,
            owned,
            pass,
            default: None,
            format: None,
            spread: false,
            record: false,
            positional: false,
            required: false,
        };
        let (marks, others) = typed.attrs.drain(..).partition::<Vec<_>, _>(|a| a.path().is_ident("arg"));
        typed.attrs = others;
        for mark in marks {
            for meta in mark.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)? {
                match meta {
                    Meta::NameValue(pair) if pair.path.is_ident("default") => {
                        parameter.default = Some(pair.value)
                    }
                    Meta::NameValue(pair) if pair.path.is_ident("format") => {
                        parameter.format = Some(pair.value)
                    }
                    Meta::Path(path) if path.is_ident("spread") => {
                        (parameter.spread, parameter.record) = (true, true);
                    }
                    Meta::Path(path) if path.is_ident("record") => parameter.record = true,
                    Meta::Path(path) if path.is_ident("positional") => parameter.positional = true,
                    Meta::Path(path) if path.is_ident("required") => parameter.required = true,
                    other => return Err(syn::Error::new_spanned(other, "unknown mark of a parameter")),
                }
            }
        }
        Ok(parameter)
    }

    fn default_name(&self, method: &Ident) -> Ident {
        format_ident!("{method}_{}_default", self.name)
    }

    /// The function that makes its default.
    pub(crate) fn default_function(&self, method: &Ident) -> Option<TokenStream> {
        let default = self.default.as_ref()?;
        let (name, owned) = (self.default_name(method), &self.owned);
        Some(quote! { fn #name() -> #owned { #default } })
    }

    /// The field of the record of arguments.
    pub(crate) fn field(&self, method: &Ident) -> TokenStream {
        let Self { name, owned, .. } = self;
        let mut marks = Vec::new();
        if self.default.is_some() {
            let function = self.default_name(method).to_string();
            marks.push(quote!(#[serde(default = #function)]));
        } else if self.required {
            // Serde takes a missing `Option` for `None`, unless it has a function of its own.
            marks.push(quote!(#[serde(deserialize_with = "::serde::Deserialize::deserialize")]));
            marks.push(quote!(#[schemars(extend("x-required" = true))]));
        } else if is(owned, "Option") || self.spread {
            marks.push(quote!(#[serde(default)]));
        }
        if is(owned, "Option") && quote!(#owned).to_string().contains("Duration") {
            marks.push(quote!(#[serde(with = "::vpnkit_core::model::optional_duration_text")]));
            marks.push(quote!(#[schemars(with = "Option<::vpnkit_core::model::DurationText>")]));
        }
        if is(owned, "Duration") {
            marks.push(quote!(#[serde(with = "::vpnkit_core::model::duration_text")]));
            marks.push(quote!(#[schemars(with = "::vpnkit_core::model::DurationText")]));
        }
        if let Some(format) = &self.format {
            marks.push(quote!(#[schemars(extend("format" = #format))]));
        }
        quote!(#(#marks)* #name: #owned)
    }

    /// The entry of `Operation::parameters`.
    pub(crate) fn description(&self) -> TokenStream {
        let (name, spread, record, positional) =
            (self.name.to_string(), self.spread, self.record, self.positional);
        quote! {
            ::vpnkit_engine::operation::Parameter { name: #name, spread: #spread, record: #record, positional: #positional }
        }
    }

    /// What the method is called with.
    pub(crate) fn passed(&self) -> TokenStream {
        let name = &self.name;
        match self.pass {
            Pass::Value => quote!(arguments.#name),
            Pass::Reference => quote!(&arguments.#name),
            Pass::Deref => quote!(arguments.#name.as_deref()),
        }
    }
}

fn owned(given: &Type) -> (Type, Pass) {
    match given {
        Type::ImplTrait(bounds) => {
            // `impl Into<T>`
            let target = bounds.bounds.iter().find_map(|bound| match bound {
                TypeParamBound::Trait(bound) => bound.path.segments.last().and_then(|s| inside(&s.arguments)),
                _ => None,
            });
            (target.unwrap_or_else(|| given.clone()), Pass::Value)
        }
        Type::Reference(reference) => match &*reference.elem {
            Type::Slice(slice) => {
                let element = &slice.elem;
                (parse_quote!(Vec<#element>), Pass::Reference)
            }
            Type::Path(path) if path.path.is_ident("str") => (parse_quote!(String), Pass::Reference),
            other => (other.clone(), Pass::Reference),
        },
        Type::Path(path) if is(given, "Option") => {
            let inner = path.path.segments.last().and_then(|segment| inside(&segment.arguments));
            match inner {
                Some(Type::Reference(reference)) => {
                    let inner = match &*reference.elem {
                        Type::Path(path) if path.path.is_ident("str") => parse_quote!(String),
                        other => other.clone(),
                    };
                    (parse_quote!(Option<#inner>), Pass::Deref)
                }
                _ => (given.clone(), Pass::Value),
            }
        }
        other => (other.clone(), Pass::Value),
    }
}

fn inside(arguments: &PathArguments) -> Option<Type> {
    match arguments {
        PathArguments::AngleBracketed(inside) => inside.args.iter().find_map(|argument| match argument {
            GenericArgument::Type(inside) => Some(inside.clone()),
            _ => None,
        }),
        _ => None,
    }
}

fn is(given: &Type, name: &str) -> bool {
    matches!(given, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == name))
}
