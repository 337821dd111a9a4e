//! `vpnkit/_nouns_async.py` and `vpnkit/_nouns_sync.py`: the methods of Python.

use super::NOUNS;
use super::model::{Field, Method, Parameter, Surface, Type, mentions};
use super::python::{NATIVE, default, docstring, hint, imported, reader, writer};

const HEAD: &str = r#"from __future__ import annotations

import builtins
from base64 import b64decode
from collections.abc import {ITERATOR}, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from . import _wire
from ._native import Credential, Event, Key
from .{LOOP} import Calls, EventConsumer, EventStream
from ._wire import EMPTY, KEEP, AdminLike, Headers, Keep, KeyLike, Length, Size
from .sizes import ByteSize
"#;

/// Whose turn it is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Asyncio,
    Threads,
}

impl Waiting {
    fn define(self) -> &'static str {
        if self == Self::Asyncio { "async def" } else { "def" }
    }

    fn wait(self) -> &'static str {
        if self == Self::Asyncio { "await " } else { "" }
    }

    fn each(self) -> &'static str {
        if self == Self::Asyncio { "AsyncIterator" } else { "Iterator" }
    }
}

/// Writes the file.
pub(super) fn nouns(surface: &Surface, waiting: Waiting) -> String {
    let mut classes = Vec::new();
    for (noun, methods) in surface.nouns() {
        let (class, docs) = NOUNS.iter().find(|one| one.0 == noun).map_or((noun, ""), |one| (one.1, one.2));
        // In a class with a method `list`, `list[…]` would mean the method.
        let list = if methods.iter().any(|m| m.verb == "list") { "builtins.list" } else { "list" };
        let mut parts = vec![format!(
            "class {class}:\n{}\n    def __init__(self, calls: Calls) -> None:\n        self._calls = calls\n",
            docstring(docs, 4)
        )];
        for method in methods {
            parts.push(written(surface, method, waiting, list));
            if method.result == Type::Named("Page".to_owned()) {
                parts.push(iterate(surface, method, waiting));
            }
            if method.result == Type::Named("ExtendedStep".to_owned()) {
                parts.push(extend_all(surface, method, waiting));
            }
        }
        if noun == "events" {
            parts.push(STREAM.to_owned());
        }
        classes.push(parts.join("\n"));
    }
    let text = classes.join("\n\n");
    let used = |name: &str| mentions(&text, name);
    let loops = if waiting == Waiting::Asyncio { "_loop" } else { "_thread" };
    let head = HEAD.replace("{ITERATOR}", waiting.each()).replace("{LOOP}", loops);
    let head: Vec<String> = head
        .lines()
        .filter(|line| *line != "import builtins" || used("builtins"))
        .filter_map(|line| imported(line, &used))
        .collect();
    let whom = if waiting == Waiting::Asyncio { "asyncio" } else { "threads" };
    format!(
        "\"\"\"Every call, for {whom}. Written by `make generate`: change the description in Rust.\"\"\"\n\n{}\n{}\n\n\n{text}",
        head.join("\n").trim_end(),
        records_import(surface, &used),
    )
}

fn records_import(surface: &Surface, used: &dyn Fn(&str) -> bool) -> String {
    let names = surface.records.keys().map(String::as_str);
    let names = names.filter(|name| !NATIVE.contains(name) && used(name));
    let lines: Vec<String> = names.map(|name| format!("    {name},\n")).collect();
    format!("from .records import (\n{})", lines.concat())
}

const STREAM: &str = r#"    def stream(self, after: int = 0) -> EventStream:
        """Everything after a cursor (0: from the beginning), then whatever comes. Keep the cursor of the last event that
        you handled, and go on from there."""
        return self._calls.stream(after)

    def consume(self, name: str, *, after: int | None = None) -> EventConsumer:
        """Consumes events under a name (1 to 64 of ``A-Z a-z 0-9 . _ @ + -``), whose place the store keeps: each event is given
        at least once to one of those who consume under it, in whichever process. It begins behind ``after``, the first time;
        without that with what happens next.

        Raises InvalidInputError about ``name``; CursorExpiredError, from the loop, when events that were not handled are no
        longer kept: :meth:`remove_consumer` lets it begin again."""
        return self._calls.consumer(name, after)
"#;

/// A parameter as it stands in the signature.
struct Argument {
    name: String,
    hint: String,
    default: Option<String>,
    by_place: bool,
}

impl Argument {
    fn text(&self) -> String {
        match &self.default {
            Some(default) => format!("{}: {} = {default}", self.name, self.hint),
            None => format!("{}: {}", self.name, self.hint),
        }
    }
}

fn arguments(surface: &Surface, method: &Method) -> Vec<Argument> {
    let mut all = Vec::new();
    for Parameter { field, spread } in &method.parameters {
        if !spread {
            all.push(argument(surface, field, false, true));
            continue;
        }
        let fields = surface.fields(&field.ty);
        let patch = fields.iter().any(|field| field.patch);
        for field in fields {
            if field.name == "expires_in" {
                all.push(Argument {
                    name: "days".to_owned(),
                    hint: "float | None".to_owned(),
                    default: Some("None".to_owned()),
                    by_place: false,
                });
            }
            all.push(argument(surface, field, patch, false));
        }
    }
    // By place: what must be given, then what may be. By name: the rest.
    all.sort_by_key(|one| (!one.by_place, one.default.is_some()));
    all
}

fn argument(surface: &Surface, field: &Field, patch: bool, own: bool) -> Argument {
    let mut ty = hint(surface, &field.ty, true, false);
    let mut default = default(surface, field);
    if patch && matches!(field.ty, Type::Optional(_) | Type::Map(_)) {
        let value = hint(surface, field.ty.present(), true, false);
        ty = if field.patch { format!("{value} | None | Keep") } else { format!("{value} | Keep") };
        default = Some("KEEP".to_owned());
    }
    if own && matches!(field.ty, Type::List(_)) {
        ty = ty.replacen("Sequence[", "Iterable[", 1);
    }
    let by_place = default.is_none() || field.positional;
    Argument { name: field.name.clone(), hint: ty, default, by_place }
}

/// A method's first line.
fn signature(define: &str, name: &str, arguments: &[Argument], result: &str) -> String {
    let mut given = vec!["self".to_owned()];
    let mut named = false;
    for one in arguments {
        if !one.by_place && !named {
            named = true;
            given.push("*".to_owned());
        }
        given.push(one.text());
    }
    let line = format!("    {define} {name}({}) -> {result}:\n", given.join(", "));
    if line.chars().count() <= 121 {
        return line;
    }
    let lines: Vec<String> = given.iter().map(|one| format!("        {one},\n")).collect();
    format!("    {define} {name}(\n{}    ) -> {result}:\n", lines.concat())
}

fn documented(surface: &Surface, method: &Method) -> String {
    let mut docs = method.docs.clone();
    for parameter in method.parameters.iter().filter(|parameter| parameter.spread) {
        if let Type::Named(name) = &parameter.field.ty
            && surface.records.contains_key(name)
        {
            let fields = format!("The arguments are the fields of [`{name}`].");
            docs = match docs.split_once("\n\nErrors") {
                Some((before, errors)) => format!("{before}\n\n{fields}\n\nErrors{errors}"),
                None => format!("{docs}\n\n{fields}"),
            };
        }
    }
    docstring(&docs, 8)
}

fn written(surface: &Surface, method: &Method, waiting: Waiting, list: &str) -> String {
    let arguments = arguments(surface, method);
    let result = match &method.result {
        Type::List(inner) => format!("{list}[{}]", hint(surface, inner, false, false)),
        Type::Map(inner) => format!("dict[str, {}]", hint(surface, inner, false, false)),
        other => hint(surface, other, false, false),
    };
    let mut text = signature(waiting.define(), &method.verb, &arguments, &result);
    text += &documented(surface, method);
    let (lines, json) = json(surface, method);
    text += &lines;
    text + &call(surface, method, waiting, &json, &result)
}

/// The lines that prepare the arguments, and the expression of their JSON.
fn json(surface: &Surface, method: &Method) -> (String, String) {
    let operation = format!("\"{}\"", method.operation);
    match method.parameters.as_slice() {
        [] => (String::new(), "\"{}\"".to_owned()),
        [Parameter { field, .. }] if field.ty == Type::KeyRef => {
            (String::new(), format!("_wire.of_key({operation}, {})", field.name))
        }
        parameters => {
            let mut lines = String::new();
            let mut entries = Vec::new();
            for Parameter { field, spread } in parameters {
                let name = &field.name;
                let value = if *spread {
                    lines += &gathered(surface, field);
                    format!("{name}._json({operation})")
                } else {
                    let optional = matches!(field.ty, Type::Optional(_));
                    match writer(surface, field.ty.present()) {
                        Some(writer) if optional => {
                            format!("None if {name} is None else {writer}({operation}, \"{name}\", {name})")
                        }
                        Some(writer) => format!("{writer}({operation}, \"{name}\", {name})"),
                        None => name.clone(),
                    }
                };
                entries.push(format!("\"{name}\": {value}"));
            }
            let line = format!("        arguments = {{{}}}\n", entries.join(", "));
            if line.chars().count() <= 121 {
                lines += &line;
            } else {
                let entries: Vec<String> =
                    entries.iter().map(|entry| format!("            {entry},\n")).collect();
                lines += &format!("        arguments = {{\n{}        }}\n", entries.concat());
            }
            (lines, "_wire.dumps(arguments)".to_owned())
        }
    }
}

/// A record of the arguments that are its fields.
fn gathered(surface: &Surface, field: &Field) -> String {
    let Type::Named(class) = &field.ty else { return String::new() };
    let mut given = Vec::new();
    for one in surface.fields(&field.ty) {
        if one.name == "expires_in" {
            given.push("            days=days,\n".to_owned());
        }
        given.push(format!("            {0}={0},\n", one.name));
    }
    format!("        {} = {class}(\n{}        )\n", field.name, given.concat())
}

/// The lines that make the call and return its answer.
fn call(surface: &Surface, method: &Method, waiting: Waiting, json: &str, result: &str) -> String {
    let operation = format!("\"{}\"", method.operation);
    let wait = waiting.wait();
    let key = Type::Named("Key".to_owned());
    let ask = |how: &str| format!("{wait}self._calls.{how}({operation}, {json})");
    let asked = |how: &str| format!("        answer: {result} = {}\n        return answer\n", ask(how));
    match &method.result {
        Type::Nothing => format!("        {}\n", ask("call")),
        // The native half makes these.
        Type::List(inner) if **inner == Type::Named("Event".to_owned()) => asked("call"),
        ty if *ty.present() == key || *ty == Type::List(Box::new(key.clone())) || *ty == Type::Time => {
            asked("call")
        }
        Type::Named(name) if name == "Page" || name == "EventBatch" => {
            format!("        return {name}(*{})\n", ask("call"))
        }
        ty => {
            let expression = |read: String| format!("        return {read}\n");
            match (reader(surface, ty.present(), true), ty) {
                (None, _) => asked("json"),
                (Some(read), Type::Optional(_)) => format!(
                    "        answer = {}\n        return None if answer is None else {read}(answer)\n",
                    ask("json")
                ),
                (Some(_), Type::List(inner)) => match reader(surface, inner, true) {
                    Some(read) => format!(
                        "        answer = {}\n        return [{read}(one) for one in answer]\n",
                        ask("json")
                    ),
                    None => asked("json"),
                },
                (Some(_), Type::Map(inner)) => match reader(surface, inner, true) {
                    Some(read) => format!(
                        "        answer = {}\n        return {{name: {read}(one) for name, one in answer.items()}}\n",
                        ask("json")
                    ),
                    None => asked("json"),
                },
                (Some(read), _) => expression(format!("{read}({})", ask("json"))),
            }
        }
    }
}

/// All pages of a method that returns one.
fn iterate(surface: &Surface, method: &Method, waiting: Waiting) -> String {
    let mut arguments = arguments(surface, method);
    arguments.retain(|one| one.name != "page");
    for one in arguments.iter_mut().filter(|one| one.name == "limit") {
        one.default = Some("1_000".to_owned());
    }
    let mut text = signature(waiting.define(), "iterate", &arguments, &format!("{}[Key]", waiting.each()));
    text += "        \"\"\"Walks through everything that :meth:`find` finds, over all pages; ``limit`` is the size of a page.\"\"\"\n";
    text += "        page: str | None = None\n        while True:\n";
    let given = arguments.iter().map(|one| one.name.as_str()).chain(["page"]);
    let given: Vec<String> = given.map(|name| format!("                {name}={name},\n")).collect();
    text += &format!(
        "            found = {}self.{}(\n{}            )\n",
        waiting.wait(),
        method.verb,
        given.concat()
    );
    text += "            for key in found.keys:\n                yield key\n            page = found.next\n";
    text + "            if page is None:\n                return\n"
}

/// All steps of a method that does one.
fn extend_all(surface: &Surface, method: &Method, waiting: Waiting) -> String {
    let mut arguments = arguments(surface, method);
    arguments.retain(|one| one.name != "after");
    let result = format!("{}[ExtendedStep]", waiting.each());
    let mut text = signature(waiting.define(), "extend_all", &arguments, &result);
    text += EXTEND_ALL;
    let given = arguments.iter().map(|one| one.name.as_str()).chain(["after"]);
    let given: Vec<String> = given.map(|name| format!("                {name}={name},\n")).collect();
    text += &format!(
        "            step = {}self.{}(\n{}            )\n",
        waiting.wait(),
        method.verb,
        given.concat()
    );
    text + "            yield step\n            after = step.next\n            if after is None:\n                return\n"
}

const EXTEND_ALL: &str = r#"        """Extends all keys that a query finds, step by step: each step is told once it is committed, for a bar of progress
        beside :meth:`count`. Interrupted, the same call begins again, in whichever process, and gives nothing twice.

        Arguments and errors as with :meth:`extend_step`."""
        after: int | None = None
        while True:
"#;
