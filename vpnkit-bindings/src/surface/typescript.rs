//! `lib/records.ts`: the records of TypeScript, and the functions that read and write their JSON.

use super::docs::{Language, wrapped};
use super::model::{Field, Record, Shape, Surface, Type, Variant, camel, mentions};

/// Records that are classes, each in a file of its own, with `read…` and, where it is given, `write…` beside it.
pub(super) const CLASSES: &[(&str, &str)] = &[
    ("Credential", "credential"),
    ("Endpoint", "endpoint"),
    ("Event", "events"),
    ("Page", "page"),
    ("Reality", "reality"),
    ("SubscriptionResponse", "response"),
];

const HEAD: &str = r#"/** Records: what calls take and return. Written by `make generate`: change the description in Rust. */
import { type Json, hiding, list, maybe, oneOrMany, others, put, unknownType } from "./convert.js";
import { type Credential, readCredential, writeCredential } from "./credential.js";
import { type Event, readEvent } from "./events.js";
import { lasting } from "./expiry.js";
import { type AdminLike, adminRef } from "./admin_like.js";
import { type KeyLike, keyRef } from "./key_like.js";
import { camel, snake } from "./names.js";
import { type Reality, readReality, writeReality } from "./reality.js";
import { type Length, type Size, lengthSeconds, lengthText, timeText, sizeText } from "./sizes.js";
"#;

pub(super) fn is_class(name: &str) -> bool {
    CLASSES.iter().any(|(class, _)| *class == name)
}

/// Writes the file.
pub(super) fn records(surface: &Surface) -> String {
    let mut bodies = Vec::new();
    for record in surface.ordered() {
        if !is_class(&record.name) {
            bodies.push(body(surface, record));
        }
    }
    let text = bodies.join("\n");
    let used = |name: &str| mentions(&text, name);
    let head: Vec<String> = HEAD.lines().filter_map(|line| imported(line, &used)).collect();
    format!("{}\n\n{text}", head.join("\n").trim_end())
}

/// An import with the names that are used; nothing when none is.
pub(super) fn imported(line: &str, used: &dyn Fn(&str) -> bool) -> Option<String> {
    let Some((names, from)) = line.strip_prefix("import { ").and_then(|rest| rest.split_once(" } from "))
    else {
        return Some(line.to_owned());
    };
    let names: Vec<&str> = names.split(", ").filter(|name| used(name.trim_start_matches("type "))).collect();
    (!names.is_empty()).then(|| format!("import {{ {} }} from {from}", names.join(", ")))
}

fn body(surface: &Surface, record: &Record) -> String {
    match &record.shape {
        Shape::Strings(strings) => {
            let all: Vec<String> =
                strings.iter().map(|(text, _)| format!("\n  | \"{}\"", spelled(text))).collect();
            format!("{}export type {} ={};\n", comment(&record.docs, 0), record.name, all.concat())
        }
        Shape::Record(fields) => {
            let mut parts = vec![interface(surface, record, &record.name, &record.docs, fields, None)];
            if record.returned {
                parts.push(read_record(surface, record, fields));
            }
            if record.given {
                parts.push(write_record(surface, &record.name, fields, None));
            }
            parts.join("\n")
        }
        Shape::Union(variants) => union(surface, record, variants),
    }
}

fn union(surface: &Surface, record: &Record, variants: &[Variant]) -> String {
    let mut parts = Vec::new();
    for one in variants.iter().filter(|one| !is_class(&one.class)) {
        parts.push(interface(surface, record, &one.class, &one.docs, &one.fields, Some(&one.tag)));
        if record.given {
            parts.push(write_record(surface, &one.class, &one.fields, Some(&one.tag)));
        }
    }
    let name = &record.name;
    let names: Vec<&str> = variants.iter().map(|one| one.class.as_str()).collect();
    parts.push(format!("{}export type {name} = {};\n", comment(&record.docs, 0), names.join(" | ")));
    if record.returned {
        let mut cases = String::new();
        for one in variants {
            let value = if is_class(&one.class) {
                format!("read{}(json)", one.class)
            } else {
                object(surface, record, &one.fields, Some(&one.tag), 6)
            };
            cases += &format!("    case \"{}\":\n      return {value};\n", one.tag);
        }
        parts.push(format!(
            "/** @internal */\nexport function read{name}(json: Json): {name} {{\n  switch (json.type) {{\n{cases}    default:\n      return json as {name};\n  }}\n}}\n"
        ));
    }
    if record.given {
        let mut cases = String::new();
        for one in variants {
            cases += &format!(
                "    case \"{}\":\n      return write{}(operation, given);\n",
                camel(&one.tag),
                one.class
            );
        }
        let tags: Vec<String> = variants.iter().map(|one| camel(&one.tag)).collect();
        parts.push(format!(
            "/** @internal */\nexport function write{name}(operation: string, given: {name}): Json {{\n  switch (given?.type) {{\n{cases}    default:\n      throw unknownType(operation, \"{}\", \"{}\");\n  }}\n}}\n",
            camel(&decapitalized(name.strip_suffix("Config").unwrap_or(name))),
            tags.join(", "),
        ));
    }
    parts.join("\n")
}

fn decapitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

fn interface(
    surface: &Surface,
    record: &Record,
    name: &str,
    docs: &str,
    fields: &[Field],
    tag: Option<&str>,
) -> String {
    let mut text = format!("{}export interface {name} {{\n", comment(docs, 0));
    if let Some(tag) = tag {
        text += &format!("  readonly type: \"{}\";\n", camel(tag));
    }
    let patch = fields.iter().any(|field| field.patch);
    for field in fields {
        if field.name == "expires_in" && record.given {
            text += "  /** So many times 24 hours. */\n  readonly days?: number | undefined;\n";
        }
        text += &comment(&with_default(field, record.given), 2);
        // A patch has `null` only where it takes something away: elsewhere what is left out stays.
        let ty = if patch && !field.patch { field.ty.present() } else { &field.ty };
        let ty = hint(surface, ty, record.given && !record.returned, !record.given);
        let name = field_name(field, record.given);
        if record.given && !field.required {
            text += &format!("  readonly {name}?: {ty} | undefined;\n");
        } else {
            text += &format!("  readonly {name}: {ty};\n");
        }
    }
    text + "}\n"
}

/// A length that is only returned is a number of seconds, and says so; one that may be given again stays as it is given.
fn field_name(field: &Field, given: bool) -> String {
    let name = camel(&field.name);
    if !given && *field.ty.present() == Type::Length { format!("{name}Seconds") } else { name }
}

fn with_default(field: &Field, given: bool) -> String {
    use serde_json::Value;
    let shown = match &field.default {
        Some(Value::String(text)) if given && !text.is_empty() && !field.docs.contains("Default") => {
            Some(format!("`{}`", camel(text)))
        }
        Some(Value::Number(number)) if given && !field.docs.contains("Default") => Some(number.to_string()),
        _ => None,
    };
    match shown {
        Some(default) => format!("{} Default: {default}.", field.docs),
        None => field.docs.clone(),
    }
}

/// The type as TypeScript writes it. `given`: as callers may give it; `made`: as only answers have it.
pub(super) fn hint(surface: &Surface, ty: &Type, given: bool, made: bool) -> String {
    match ty {
        Type::Nothing => "void".to_owned(),
        Type::Anything => "unknown".to_owned(),
        Type::Bool => "boolean".to_owned(),
        Type::Int => "number".to_owned(),
        Type::IntOrText => "number | string".to_owned(),
        Type::Text | Type::Path | Type::Ip | Type::Utf8 => "string".to_owned(),
        Type::Size => if given { "Size" } else { "number" }.to_owned(),
        Type::Length => if made { "number" } else { "Length" }.to_owned(),
        Type::Time => "Date".to_owned(),
        Type::Base64 => "Buffer".to_owned(),
        Type::Headers => "RequestHeaders".to_owned(),
        Type::KeyRef => "KeyLike".to_owned(),
        Type::AdminRef => "AdminLike".to_owned(),
        Type::KeyId => "number".to_owned(),
        Type::Named(name) if made => surface.records.get(name).map_or_else(|| name.clone(), returned),
        Type::Named(name) => name.clone(),
        Type::List(inner) => match &**inner {
            Type::Named(name) if given && surface.is_text(name) => format!("{name} | readonly {name}[]"),
            inner => format!("readonly {}[]", hint(surface, inner, given, made)),
        },
        Type::Map(inner) => format!("Readonly<Record<string, {}>>", hint(surface, inner, given, made)),
        Type::Optional(inner) => format!("{} | null", hint(surface, inner, given, made)),
    }
}

fn read_record(surface: &Surface, record: &Record, fields: &[Field]) -> String {
    let name = &record.name;
    let ty = returned(record);
    let object = object(surface, record, fields, None, 2);
    format!("/** @internal */\nexport const read{name} = (json: Json): {ty} =>\n  Object.freeze({object});\n")
}

/// The type of a record that was returned: everything is there.
pub(super) fn returned(record: &Record) -> String {
    let partial = match &record.shape {
        Shape::Record(fields) => record.given && fields.iter().any(|field| !field.required),
        _ => false,
    };
    let days =
        matches!(&record.shape, Shape::Record(fields) if fields.iter().any(|f| f.name == "expires_in"));
    match (partial, days) {
        (false, _) => record.name.clone(),
        (true, false) => format!("Required<{}>", record.name),
        // A second way to say the same.
        (true, true) => format!("Required<Omit<{}, \"days\">>", record.name),
    }
}

fn object(surface: &Surface, record: &Record, fields: &[Field], tag: Option<&str>, indent: usize) -> String {
    let mut entries: Vec<String> = tag.into_iter().map(|tag| format!("type: \"{}\"", camel(tag))).collect();
    for field in fields {
        let json = format!("json.{}", field.name);
        let value = match field.ty.present() {
            Type::Length if record.given => format!("{json} ?? null"),
            _ => read(surface, &field.ty, &json),
        };
        entries.push(format!("{}: {value}", field_name(field, record.given)));
    }
    let hidden: Vec<String> = fields
        .iter()
        .filter(|field| field.secret)
        .map(|field| format!(", \"{}\"", camel(&field.name)))
        .collect();
    let object = braced(&entries, indent);
    if hidden.is_empty() { object } else { format!("hiding({object}{})", hidden.concat()) }
}

/// An object: on one line, or with a line for each entry that is indented by two more.
pub(super) fn braced(entries: &[String], indent: usize) -> String {
    let line = format!("{{ {} }}", entries.join(", "));
    if line.len() + indent <= 96 {
        return line;
    }
    let space = " ".repeat(indent);
    let lines: Vec<String> = entries.iter().map(|entry| format!("{space}  {entry},\n")).collect();
    format!("{{\n{}{space}}}", lines.concat())
}

/// The expression that makes a value of its JSON.
pub(super) fn read(surface: &Surface, ty: &Type, json: &str) -> String {
    match (ty, reader(surface, ty)) {
        (Type::Optional(inner), _) => match reader(surface, inner) {
            Some(reader) => format!("maybe({json}, {reader})"),
            None => format!("{json} ?? null"),
        },
        (_, None) => json.to_owned(),
        (Type::Time, _) => format!("new Date({json})"),
        (Type::List(inner), _) => match reader(surface, inner) {
            Some(reader) => format!("{json}.map({reader})"),
            None => json.to_owned(),
        },
        (_, Some(reader)) => format!("{reader}({json})"),
    }
}

/// The function that makes a value of its JSON; nothing when it is its own.
pub(super) fn reader(surface: &Surface, ty: &Type) -> Option<String> {
    Some(match ty {
        Type::Length => "lengthSeconds".to_owned(),
        Type::Time => "(text: string) => new Date(text)".to_owned(),
        Type::Base64 => "(text: string) => Buffer.from(text, \"base64\")".to_owned(),
        Type::Named(name) => match surface.records.get(name).map(|record| &record.shape) {
            Some(Shape::Strings(strings)) => {
                strings.iter().any(|(text, _)| spelled(text) != *text).then(|| format!("camel<{name}>"))?
            }
            _ => format!("read{name}"),
        },
        Type::List(inner) => format!("(json: Json[]) => json.map({})", reader(surface, inner)?),
        Type::Map(inner) => format!(
            "(json: Json) => Object.fromEntries(Object.entries(json).map(([name, one]) => [name, {}(one)]))",
            reader(surface, inner)?
        ),
        Type::Optional(inner) => format!("(json: Json) => maybe(json, {})", reader(surface, inner)?),
        _ => return None,
    })
}

fn write_record(surface: &Surface, name: &str, fields: &[Field], tag: Option<&str>) -> String {
    let mut names: Vec<String> = tag.iter().map(|_| "\"type\"".to_owned()).collect();
    let mut entries: Vec<String> = tag.into_iter().map(|tag| format!("type: \"{tag}\"")).collect();
    entries.insert(0, String::new());
    for field in fields {
        let name = camel(&field.name);
        if field.name == "expires_in" {
            names.push("\"days\"".to_owned());
        }
        names.push(format!("\"{name}\""));
        let value = if field.name == "expires_in" {
            "lasting(operation, given)".to_owned()
        } else {
            written(surface, field, &format!("given.{name}"))
        };
        entries.push(format!("{}: {value}", field.name));
    }
    if let Some(first) = entries.first_mut() {
        *first = format!("...others(operation, given, {})", listed(&names));
    }
    format!(
        "/** @internal */\nexport const write{name} = (operation: string, given: {name}): Json => ({});\n",
        braced(&entries, 0),
    )
}

/// A list: on one line, or on as many as it needs.
fn listed(names: &[String]) -> String {
    let line = format!("[{}]", names.join(", "));
    if line.len() <= 90 {
        return line;
    }
    let lines: Vec<String> =
        wrapped(&names.join(", "), 112).iter().map(|line| format!("    {line}\n")).collect();
    format!("[\n{}  ]", lines.concat().trim_end().to_owned() + ",\n")
}

/// The expression of a field's JSON; what is missing stays away.
pub(super) fn written(surface: &Surface, field: &Field, value: &str) -> String {
    let name = camel(&field.name);
    match writer(surface, field.ty.present(), &name) {
        None => value.to_owned(),
        Some(writer) if field.required => format!("({writer})({value})"),
        Some(writer) => format!("put({value}, {writer})"),
    }
}

/// The function that makes JSON of a value; nothing when it is its own.
fn writer(surface: &Surface, ty: &Type, name: &str) -> Option<String> {
    let of = |function: &str| format!("(value) => {function}(operation, \"{name}\", value)");
    Some(match ty {
        Type::Size => of("sizeText"),
        Type::Length => of("lengthText"),
        Type::Time => of("timeText"),
        Type::KeyRef => of("keyRef"),
        Type::AdminRef => of("adminRef"),
        Type::Named(record) => match surface.records.get(record).map(|record| &record.shape) {
            Some(Shape::Strings(strings)) => {
                strings.iter().any(|(text, _)| spelled(text) != *text).then(|| "snake".to_owned())?
            }
            _ if record == "Credential" => "(value) => writeCredential(operation, value)".to_owned(),
            _ => format!("(value) => write{record}(operation, value)"),
        },
        Type::List(inner) => match &**inner {
            Type::Named(name) if surface.is_text(name) => of("oneOrMany"),
            inner => match writer(surface, inner, name) {
                Some(writer) => format!("(value) => list(operation, \"{name}\", value).map({writer})"),
                None => of("list"),
            },
        },
        _ => return None,
    })
}

/// One of an enum's strings as TypeScript has it: a word in camel case, a code such as `key.on_hold` as it stands.
fn spelled(text: &str) -> String {
    if text.contains('.') { text.to_owned() } else { camel(text) }
}

/// A comment, indented, with a line break at its end; nothing without text.
pub(super) fn comment(docs: &str, indent: usize) -> String {
    let text = Language::TypeScript.translate(docs).replace("*/", "*\\/");
    if text.trim().is_empty() {
        return String::new();
    }
    let space = " ".repeat(indent);
    let lines = wrapped(&text, 116 - indent);
    match lines.as_slice() {
        [line] if line.chars().count() + indent + 7 <= 120 => format!("{space}/** {line} */\n"),
        lines => {
            let body: Vec<String> =
                lines.iter().map(|line| format!("{space} * {line}").trim_end().to_owned() + "\n").collect();
            format!("{space}/**\n{}{space} */\n", body.concat())
        }
    }
}
