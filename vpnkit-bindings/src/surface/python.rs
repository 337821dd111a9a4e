//! `vpnkit/records.py`: the records of Python.

use serde_json::Value;

use super::docs::{Language, wrapped};
use super::model::{Field, Record, Shape, Surface, Type, Variant, mentions};

/// Records that are native classes.
pub(super) const NATIVE: &[&str] = &["Credential", "Event", "Key"];

/// What a person adds to a record: a base class of `vpnkit/_sugar.py`.
const SUGAR: &[(&str, &str)] = &[
    ("CreateKey", "Expiry"),
    ("Extension", "Expiry"),
    ("KeyTemplate", "Expiry"),
    ("Page", "Keys"),
    ("Reality", "NewKeys"),
    ("SubscriptionResponse", "Body"),
    ("Traffic", "Total"),
];

/// How many optional fields of a union's record are taken by their place.
const BY_PLACE: usize = 4;

const HEAD: &str = r#""""Records: what calls take and return. Written by `make generate`: change the description in Rust."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from os import PathLike
from typing import Any, Literal, TypeAlias

from . import _sugar, _wire
from ._native import Credential, Event, Key
from ._wire import KEEP, AdminLike, Keep, KeyLike, Length, Record, Size
from .sizes import ByteSize
"#;

/// Writes the file.
pub(super) fn records(surface: &Surface) -> String {
    let mut bodies = Vec::new();
    for record in surface.ordered() {
        if !NATIVE.contains(&record.name.as_str()) {
            bodies.push(body(surface, record));
        }
    }
    let text = bodies.join("\n\n");
    let used = |name: &str| mentions(&text, name);
    // Only what is used is imported: type checkers and linters complain about the rest.
    let head: Vec<String> = HEAD.lines().filter_map(|line| imported(line, &used)).collect();
    format!("{}\n\n{}\n\n{text}", head.join("\n").trim_end(), exported(surface))
}

/// `__all__`
fn exported(surface: &Surface) -> String {
    let mut names: Vec<&str> = Vec::new();
    for record in surface.records.values().filter(|record| !NATIVE.contains(&record.name.as_str())) {
        names.push(&record.name);
        if let Shape::Union(variants) = &record.shape {
            names.extend(variants.iter().map(|one| one.class.as_str()));
        }
    }
    names.sort_unstable();
    let lines: Vec<String> = names.iter().map(|name| format!("    \"{name}\",\n")).collect();
    format!("__all__ = [\n{}]\n", lines.concat())
}

/// An import with the names that are used; nothing when none is.
pub(super) fn imported(line: &str, used: &dyn Fn(&str) -> bool) -> Option<String> {
    let Some((from, names)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import ")) else {
        return Some(line.to_owned());
    };
    if from == "__future__" {
        return Some(line.to_owned());
    }
    let names: Vec<&str> = names.split(", ").filter(|name| used(name)).collect();
    (!names.is_empty()).then(|| format!("from {from} import {}", names.join(", ")))
}

fn body(surface: &Surface, record: &Record) -> String {
    match &record.shape {
        Shape::Strings(strings) => {
            let all: Vec<String> = strings.iter().map(|(text, _)| format!("    \"{text}\",\n")).collect();
            format!("{} = Literal[\n{}]\n{}", record.name, all.concat(), docstring(&record.docs, 0))
        }
        Shape::Record(fields) => class(surface, record, &record.name, &record.docs, fields, None),
        Shape::Union(variants) => {
            let mut classes: Vec<String> = variants.iter().map(|one| variant(surface, record, one)).collect();
            let names: Vec<&str> = variants.iter().map(|one| one.class.as_str()).collect();
            classes.push(format!(
                "{}: TypeAlias = {}\n{}",
                record.name,
                names.join(" | "),
                docstring(&record.docs, 0)
            ));
            let read = format!("_{} = _wire.tagged({})\n", record.name, names.join(", "));
            if record.returned { classes.join("\n\n") + "\n" + &read } else { classes.join("\n\n") }
        }
    }
}

fn variant(surface: &Surface, union: &Record, one: &Variant) -> String {
    class(surface, union, &one.class, &one.docs, &one.fields, Some(&one.tag))
}

fn class(
    surface: &Surface,
    record: &Record,
    name: &str,
    docs: &str,
    fields: &[Field],
    tag: Option<&str>,
) -> String {
    let sugar = SUGAR.iter().find(|(record, _)| *record == name).map(|(_, base)| format!("_sugar.{base}, "));
    let mut lines = vec![
        "@dataclass(frozen=True)".to_owned(),
        format!("class {name}({}Record):", sugar.unwrap_or_default()),
        docstring(docs, 4).trim_end().to_owned(),
        String::new(),
    ];
    if let Some(tag) = tag {
        lines.push(format!("    _type = \"{tag}\""));
    }
    let patch = fields.iter().any(|field| field.patch);
    let by_place = |field: &&Field| field.required || field.positional || !record.given;
    let (first, last): (Vec<&Field>, Vec<&Field>) = fields.iter().partition(by_place);
    let (required, positional): (Vec<&Field>, Vec<&Field>) =
        first.into_iter().partition(|field| field.required || !record.given);
    for field in required.into_iter().chain(positional) {
        entry(surface, record, field, patch, &mut lines);
    }
    // Few fields of a union's record are known by their place.
    if !last.is_empty() && (tag.is_none() || last.len() > BY_PLACE) {
        lines.push("    _: KW_ONLY".to_owned());
    }
    for field in last {
        if field.name == "expires_in" {
            lines.push("    days: float | None = None".to_owned());
            lines.push("    \"\"\"So many times 24 hours.\"\"\"".to_owned());
        }
        entry(surface, record, field, patch, &mut lines);
    }
    let table = |name: &str, all: Vec<String>, lines: &mut Vec<String>| {
        if !all.is_empty() {
            let line = format!("    {name} = {{{}}}", all.join(", "));
            if line.len() <= 120 {
                lines.push(line);
            } else {
                lines.push(format!("    {name} = {{"));
                lines.extend(all.iter().map(|entry| format!("        {entry},")));
                lines.push("    }".to_owned());
            }
        }
    };
    let reads = |field: &Field| {
        let reader = reader(surface, field.ty.present(), !record.given)?;
        Some(format!("\"{}\": {reader}", field.name))
    };
    let writes =
        |field: &Field| Some(format!("\"{}\": {}", field.name, writer(surface, field.ty.present())?));
    if record.returned {
        table("_reads", fields.iter().filter_map(reads).collect(), &mut lines);
    }
    if record.given {
        table("_writes", fields.iter().filter_map(writes).collect(), &mut lines);
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

fn entry(surface: &Surface, record: &Record, field: &Field, patch: bool, lines: &mut Vec<String>) {
    let mut ty = hint(surface, &field.ty, record.given && !record.returned, !record.given);
    let mut default = record.given.then(|| default(surface, field)).flatten();
    if patch && matches!(field.ty, Type::Optional(_) | Type::Map(_)) {
        let value = hint(surface, field.ty.present(), true, false);
        ty = if field.patch { format!("{value} | None | Keep") } else { format!("{value} | Keep") };
        default = Some("KEEP".to_owned());
    }
    let value = match (field.secret, default) {
        (true, Some(default)) => format!(" = field(default={default}, repr=False)"),
        (true, None) => " = field(repr=False)".to_owned(),
        // What can be changed is no default of a dataclass.
        (false, Some(default)) if default == "EMPTY" => {
            format!(" = field(default_factory={}, hash=False)", ty.replacen("Mapping", "dict", 1))
        }
        (false, Some(default)) => format!(" = {default}"),
        (false, None) => String::new(),
    };
    lines.push(format!("    {}: {ty}{value}", field.name));
    if !field.docs.is_empty() {
        lines.push(docstring(&field.docs, 4).trim_end().to_owned());
    }
}

/// The type as Python writes it. `given`: as callers may give it; `made`: as only answers have it.
pub(super) fn hint(surface: &Surface, ty: &Type, given: bool, made: bool) -> String {
    let of = |inner: &Type| hint(surface, inner, given, made);
    match ty {
        Type::Nothing => "None".to_owned(),
        Type::Anything => "Any".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Int => "int".to_owned(),
        Type::IntOrText => "int | str".to_owned(),
        Type::Text => "str".to_owned(),
        Type::Size => if given { "Size" } else { "ByteSize" }.to_owned(),
        Type::Length => if given { "Length" } else { "timedelta" }.to_owned(),
        Type::Time => "datetime".to_owned(),
        Type::Path => "str | PathLike[str]".to_owned(),
        Type::Ip => if made { "IPv4Address | IPv6Address" } else { "str" }.to_owned(),
        Type::Utf8 | Type::Base64 => "bytes".to_owned(),
        Type::Headers => "Headers".to_owned(),
        Type::KeyRef => "KeyLike".to_owned(),
        Type::AdminRef => "AdminLike".to_owned(),
        Type::KeyId => if given { "int | Key" } else { "int" }.to_owned(),
        Type::Named(name) => name.clone(),
        Type::List(inner) => match &**inner {
            Type::Named(name) if given && surface.is_text(name) => format!("{name} | Sequence[{name}]"),
            inner => format!("Sequence[{}]", of(inner)),
        },
        Type::Map(inner) => format!("Mapping[str, {}]", of(inner)),
        Type::Optional(inner) => format!("{} | None", of(inner)),
    }
}

/// The default as Python writes it; nothing when it must be given.
pub(super) fn default(surface: &Surface, field: &Field) -> Option<String> {
    if field.required {
        return None;
    }
    let value = match (&field.default, field.ty.present()) {
        (Some(Value::Null), _) if matches!(field.ty, Type::Optional(_)) => "None".to_owned(),
        (_, Type::Map(_)) if !matches!(field.ty, Type::Optional(_)) => "EMPTY".to_owned(),
        (Some(default), Type::Named(name)) if !surface.is_text(name) => made(surface, name, default),
        (Some(default), _) => literal(default),
        (None, Type::Bool) if !matches!(field.ty, Type::Optional(_)) => "False".to_owned(),
        (None, Type::Text) if !matches!(field.ty, Type::Optional(_)) => "\"\"".to_owned(),
        (None, Type::List(_)) if !matches!(field.ty, Type::Optional(_)) => "()".to_owned(),
        (None, _) => "None".to_owned(),
    };
    Some(value)
}

/// A record by default: one of a union by its tag, another one with its own defaults.
fn made(surface: &Surface, name: &str, default: &Value) -> String {
    let class = match surface.records.get(name).map(|record| &record.shape) {
        Some(Shape::Union(variants)) => {
            let tag = default.get("type").and_then(Value::as_str).unwrap_or_default();
            variants.iter().find(|one| one.tag == tag).map_or(name, |one| &one.class)
        }
        _ => name,
    };
    format!("{class}()")
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => grouped(&number.to_string()),
        Value::String(text) => format!("{text:?}"),
        _ => "()".to_owned(),
    }
}

/// `1_000`
pub(super) fn grouped(number: &str) -> String {
    let mut grouped = String::new();
    for (place, digit) in number.chars().enumerate() {
        if place > 0 && (number.len() - place).is_multiple_of(3) {
            grouped.push('_');
        }
        grouped.push(digit);
    }
    grouped
}

/// The function that makes a value of its JSON; nothing when it is its own.
pub(super) fn reader(surface: &Surface, ty: &Type, made: bool) -> Option<String> {
    Some(match ty {
        Type::Size => "ByteSize".to_owned(),
        Type::Length => "_wire.length_of".to_owned(),
        Type::Time => "_wire.time_of".to_owned(),
        Type::Ip if made => "ip_address".to_owned(),
        Type::Utf8 => "str.encode".to_owned(),
        Type::Base64 => "b64decode".to_owned(),
        Type::Named(name) if NATIVE.contains(&name.as_str()) => return None,
        Type::Named(name) => match surface.records.get(name).map(|record| &record.shape) {
            Some(Shape::Record(_)) => format!("{name}._read"),
            Some(Shape::Union(_)) => format!("_{name}"),
            _ => return None,
        },
        Type::List(inner) => match reader(surface, inner, made) {
            Some(reader) => format!("_wire.read_many({reader})"),
            None => "tuple".to_owned(),
        },
        Type::Map(inner) => format!("_wire.read_map({})", reader(surface, inner, made)?),
        Type::Optional(inner) => format!("_wire.read_maybe({})", reader(surface, inner, made)?),
        _ => return None,
    })
}

/// The function that makes JSON of a value; nothing when it is its own.
pub(super) fn writer(surface: &Surface, ty: &Type) -> Option<String> {
    Some(match ty {
        Type::Size => "_wire.size".to_owned(),
        Type::Length => "_wire.length".to_owned(),
        Type::Time => "_wire.time".to_owned(),
        Type::Path => "_wire.path".to_owned(),
        Type::Headers => "_wire.headers".to_owned(),
        Type::KeyRef => "_wire.key_ref".to_owned(),
        Type::AdminRef => "_wire.admin_ref".to_owned(),
        Type::KeyId => "_wire.key_id".to_owned(),
        Type::Named(name) if name == "Credential" => "_wire.credential".to_owned(),
        Type::Named(name) if surface.is_text(name) => return None,
        Type::Named(_) => "_wire.record".to_owned(),
        Type::Map(_) => "_wire.mapping".to_owned(),
        Type::List(inner) => match &**inner {
            Type::Named(name) if surface.is_text(name) => "_wire.one_or_many".to_owned(),
            inner => {
                format!("_wire.many({})", writer(surface, inner).unwrap_or_else(|| "_wire.same".to_owned()))
            }
        },
        _ => return None,
    })
}

/// A docstring, indented, with a line break at its end.
pub(super) fn docstring(docs: &str, indent: usize) -> String {
    let text = Language::Python.translate(docs).replace('\\', "\\\\");
    let lines = wrapped(&text, 116 - indent);
    let space = " ".repeat(indent);
    match lines.as_slice() {
        [line] if line.chars().count() + indent + 6 <= 120 => format!("{space}\"\"\"{line}\"\"\"\n"),
        lines => {
            let body: Vec<String> = lines
                .iter()
                .map(|line| if line.is_empty() { String::new() } else { format!("{space}{line}") })
                .collect();
            let body = body.join("\n");
            let body = body.trim_start();
            if lines.contains(&String::new()) {
                format!("{space}\"\"\"{body}\n{space}\"\"\"\n")
            } else {
                format!("{space}\"\"\"{body}\"\"\"\n")
            }
        }
    }
}
