//! One method.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Expr, ExprLit, FnArg, GenericArgument, Ident, ImplItemFn, Lit, Meta, PathArguments, Result,
    ReturnType, Token, Type,
};

use crate::parameter::Parameter;

pub(crate) struct Method {
    name: String,
    method: Ident,
    docs: String,
    changes: bool,
    inline: bool,
    actor: bool,
    dry_run: bool,
    own: bool,
    asynchronous: bool,
    parameters: Vec<Parameter>,
    result: Type,
}

impl Method {
    /// Reads a method that is marked, and takes the marks away.
    pub(crate) fn take(noun: &str, function: &mut ImplItemFn) -> Result<Option<Self>> {
        let Some(place) = function.attrs.iter().position(|a| a.path().is_ident("operation")) else {
            return Ok(None);
        };
        let mark = function.attrs.remove(place);
        let method = function.sig.ident.clone();
        let (mut verb, mut changes, mut inline, mut actor) = (method.to_string(), None, false, true);
        let (mut dry_run, mut own) = (false, false);
        for meta in mark.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)? {
            match &meta {
                Meta::Path(path) if path.is_ident("read") => changes = Some(false),
                Meta::Path(path) if path.is_ident("change") => changes = Some(true),
                Meta::Path(path) if path.is_ident("inline") => inline = true,
                Meta::Path(path) if path.is_ident("anyone") => actor = false,
                Meta::Path(path) if path.is_ident("dry_run") => dry_run = true,
                Meta::Path(path) if path.is_ident("own") => own = true,
                Meta::NameValue(pair) if pair.path.is_ident("name") => verb = text(&pair.value)?,
                other => return Err(syn::Error::new_spanned(other, "unknown mark of an operation")),
            }
        }
        let changes = changes
            .ok_or_else(|| syn::Error::new_spanned(&method, "say whether it is a `read` or a `change`"))?;
        let mut parameters = Vec::new();
        for input in &mut function.sig.inputs {
            if let FnArg::Typed(typed) = input {
                parameters.push(Parameter::take(typed)?);
            }
        }
        let name = if noun.is_empty() { verb } else { format!("{noun}.{verb}") };
        if function.sig.asyncness.is_some() {
            // Who calls is judged before anything is done.
            let body = &function.block;
            let access = access(own);
            let judged = quote!({
                let mark = ::vpnkit_engine::operation::Mark { name: #name, changes: #changes, access: #access };
                ::vpnkit_engine::operation::enter(self, mark, async #body).await
            });
            function.block = syn::parse2(judged)?;
        } else if !own {
            return Err(syn::Error::new_spanned(
                &method,
                "what does not wait cannot be judged: it must be `own`",
            ));
        }
        Ok(Some(Self {
            name,
            docs: docs(&function.attrs)?,
            changes,
            inline,
            actor,
            dry_run,
            own,
            asynchronous: function.sig.asyncness.is_some(),
            parameters,
            result: inside_result(&function.sig.output)?,
            method,
        }))
    }

    fn record(&self) -> Ident {
        format_ident!("{}Arguments", self.method)
    }

    /// The record of its arguments.
    pub(crate) fn arguments(&self) -> TokenStream {
        let record = self.record();
        let fields = self.parameters.iter().map(|parameter| parameter.field(&self.method));
        let defaults = self.parameters.iter().map(|parameter| parameter.default_function(&self.method));
        quote! {
            #(#defaults)*

            #[derive(::serde::Deserialize, ::schemars::JsonSchema)]
            #[serde(deny_unknown_fields)]
            #[allow(non_camel_case_types, reason = "named after the method")]
            struct #record { #(#fields),* }
        }
    }

    /// The entry of `OPERATIONS`.
    pub(crate) fn description(&self, handle: &Expr) -> TokenStream {
        let Self { name, method, docs, changes, inline, actor, dry_run, .. } = self;
        let access = access(self.own);
        let record = self.record();
        let parameters = self.parameters.iter().map(Parameter::description);
        let passed = self.parameters.iter().map(Parameter::passed);
        let wait = self.asynchronous.then(|| quote!(.await));
        // A call without arguments reads an empty record.
        let used = if self.parameters.is_empty() { quote!(let _ = arguments;) } else { quote!() };
        quote! {{
            const PARAMETERS: &[::vpnkit_engine::operation::Parameter] = &[#(#parameters),*];
            ::vpnkit_engine::operation::Operation {
                name: #name,
                docs: #docs,
                changes: #changes,
                inline: #inline,
                dry_run: #dry_run,
                needs_actor: #actor,
                access: #access,
                parameters: PARAMETERS,
                parse: |json| {
                    let arguments: #record = ::vpnkit_engine::operation::read(#name, PARAMETERS, json)?;
                    Ok(Box::new(move |engine| {
                        let handle = #handle(engine);
                        Box::pin(async move {
                            #used
                            handle.#method(#(#passed),*)#wait.map(::vpnkit_engine::operation::Answer::new)
                        })
                    }))
                },
            }
        }}
    }

    /// The entry of `SCHEMAS`.
    pub(crate) fn schema(&self) -> TokenStream {
        let (Self { name, result, .. }, record) = (self, self.record());
        quote! {
            ::vpnkit_engine::operation::OperationSchema {
                name: #name,
                arguments: |generator| generator.root_schema_for::<#record>(),
                result: |generator| generator.subschema_for::<#result>(),
            }
        }
    }
}

fn access(own: bool) -> TokenStream {
    let access = if own { quote!(Own) } else { quote!(Sudo) };
    quote!(::vpnkit_engine::operation::Access::#access)
}

fn text(value: &Expr) -> Result<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.value()),
        other => Err(syn::Error::new_spanned(other, "expected a string")),
    }
}

fn docs(attributes: &[Attribute]) -> Result<String> {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|a| a.path().is_ident("doc")) {
        lines.push(text(&attribute.meta.require_name_value()?.value)?.trim_end().to_owned());
    }
    let lines: Vec<&str> = lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    Ok(lines.join("\n"))
}

/// `T` of `Result<T>`.
fn inside_result(output: &ReturnType) -> Result<Type> {
    if let ReturnType::Type(_, output) = output
        && let Type::Path(path) = &**output
        && let Some(last) = path.path.segments.last()
        && last.ident == "Result"
        && let PathArguments::AngleBracketed(inside) = &last.arguments
        && let Some(GenericArgument::Type(inside)) = inside.args.first()
    {
        return Ok(inside.clone());
    }
    Err(syn::Error::new_spanned(output, "an operation returns a `Result`"))
}
