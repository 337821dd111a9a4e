//! `lib/nouns.ts`: the methods of TypeScript.

use super::NOUNS;
use super::model::{Field, Method, Parameter, Shape, Surface, Type, camel, mentions};
use super::typescript::{
    CLASSES, braced, comment, hint, imported, is_class, read, reader, returned, written,
};

const HEAD: &str = r#"/** Every call. Written by `make generate`: change the description in Rust. */
import { type CallOptions, type Calls } from "./calls.js";
import { type Json, type RequestHeaders, each, headerPairs, list, maybe, onlyOptions, put } from "./convert.js";
import { attempt, invalid } from "./errors.js";
import { KeyBatch } from "./key_batch.js";
import { type AdminLike, adminRef } from "./admin_like.js";
import { type KeyLike, keyId, keyRef } from "./key_like.js";
import { camel, snake } from "./names.js";
import { type Length, type Size, lengthText, timeText, sizeText } from "./sizes.js";
import { EventConsumer, EventStream } from "./stream.js";
"#;

/// Writes the file.
pub(super) fn nouns(surface: &Surface) -> String {
    let mut classes = Vec::new();
    for (noun, methods) in surface.nouns() {
        let (class, docs) = NOUNS.iter().find(|one| one.0 == noun).map_or((noun, ""), |one| (one.1, one.2));
        let mut parts = vec![format!(
            "{}export class {class} {{\n  readonly #calls: Calls;\n\n  /** @internal */\n  constructor(calls: Calls) {{\n    this.#calls = calls;\n  }}\n",
            comment(docs, 0)
        )];
        for method in methods {
            parts.push(written_method(surface, method));
            if let (Type::Named(page), Some(query)) = (&method.result, method.parameters.first())
                && page == "Page"
            {
                parts.push(iterate(surface, method, &query.field));
            }
            if method.result == Type::Named("ExtendedStep".to_owned()) {
                parts.push(EXTEND_ALL.to_owned());
            }
        }
        if noun == "events" {
            parts.push(STREAM.to_owned());
        }
        classes.push(parts.join("\n") + "}\n");
    }
    let text = classes.join("\n");
    let used = |name: &str| mentions(&text, name);
    let mut head: Vec<String> = HEAD.lines().filter_map(|line| imported(line, &used)).collect();
    for (class, file) in CLASSES {
        let line = format!("import {{ type {class}, read{class} }} from \"./{file}.js\";");
        head.extend(imported(&line, &used));
    }
    let mut names = Vec::new();
    for record in surface.ordered().into_iter().filter(|record| !is_class(&record.name)) {
        let strings = matches!(record.shape, Shape::Strings(_));
        names.push(format!("type {}", record.name));
        if !strings {
            names.push(format!("read{}", record.name));
            names.push(format!("write{}", record.name));
        }
    }
    names.retain(|name| used(name.trim_start_matches("type ")));
    names.sort_by_key(|name| name.trim_start_matches("type ").to_owned());
    let names: Vec<String> = names.iter().map(|name| format!("  {name},\n")).collect();
    format!("{}\nimport {{\n{}}} from \"./records.js\";\n\n{text}", head.join("\n"), names.concat())
}

const STREAM: &str = r#"  /**
   * Everything after a cursor (0: from the beginning), then whatever comes. Keep the cursor of the last event that you
   * handled, and go on from there.
   */
  stream(after = 0, options: CallOptions = {}): EventStream {
    if (!Number.isSafeInteger(after)) throw invalid("events.stream", "after", "is no cursor", "give the `cursor` of an event");
    return new EventStream(attempt(() => this.#calls.native.events(after)), options);
  }

  /**
   * Consumes events under a name (1 to 64 of `A-Z a-z 0-9 . _ @ + -`), whose place the store keeps: each event is given at least
   * once to one of those who consume under it, in whichever process. It begins behind `after`, the first time; without that
   * with what happens next.
   *
   * Throws `InvalidInputError` about `name`; `CursorExpiredError`, from the loop, when events that were not handled are no longer
   * kept: `removeConsumer` lets it begin again.
   */
  consume(name: string, options: CallOptions & { readonly after?: number | undefined } = {}): EventConsumer {
    const { after, ...rest } = options;
    if (typeof name !== "string") throw invalid("events.consume", "name", "must be a text");
    if (after !== undefined && !Number.isSafeInteger(after)) throw invalid("events.consume", "after", "is no cursor", "give the `cursor` of an event");
    return new EventConsumer(attempt(() => this.#calls.native.consume(name, after)), rest);
  }
"#;

const EXTEND_ALL: &str = r#"  /**
   * Extends all keys that a query finds, step by step: each step is told once it is committed, for a bar of progress beside
   * `count`. Interrupted, the same call begins again, in whichever process, and gives nothing twice.
   *
   * Arguments and errors as with `extendStep`.
   */
  async *extendAll(
    idempotencyKey: string,
    extension: Extension,
    options: CallOptions & { readonly query?: KeyQuery | null | undefined } = {},
  ): AsyncGenerator<ExtendedStep, void, undefined> {
    let after: number | null = null;
    do {
      const step: ExtendedStep = await this.extendStep(idempotencyKey, extension, { ...options, after });
      yield step;
      after = step.next;
    } while (after !== null);
  }
"#;

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Given,
    Optional,
    Options,
}

/// In JavaScript several things that may be left out are named.
fn place(surface: &Surface, method: &Method, parameter: &Parameter) -> Place {
    let field = &parameter.field;
    let fields = surface.fields(&field.ty);
    if parameter.spread {
        // A record of options may be left out; a change may not.
        let optional = !fields.iter().any(|field| field.required || field.patch);
        return if optional { Place::Optional } else { Place::Given };
    }
    let several = method.parameters.iter().filter(|one| !one.field.required && !one.spread).count() > 1;
    match (field.required, field.positional && !several) {
        (true, _) => Place::Given,
        (false, true) => Place::Optional,
        (false, false) => Place::Options,
    }
}

fn written_method(surface: &Surface, method: &Method) -> String {
    let mut given = Vec::new();
    let mut optional = Vec::new();
    let mut options = Vec::new();
    let mut named = Vec::new();
    let mut entries = Vec::new();
    for parameter in &method.parameters {
        let field = &parameter.field;
        let name = camel(&field.name);
        let ty = parameter_hint(surface, field);
        let place = place(surface, method, parameter);
        match place {
            Place::Given => given.push(format!("{name}: {ty}")),
            Place::Optional if parameter.spread => optional.push(format!("{name}: {ty} = {{}}")),
            Place::Optional => optional.push(format!("{name}: {ty} = {}", default(field))),
            Place::Options => {
                options.push(format!("readonly {name}?: {ty} | undefined"));
                named.push(name.clone());
            }
        }
        let value = if place == Place::Options { format!("options.{name}") } else { name };
        let value = argument(surface, field, &value, place);
        entries.push(if value == field.name { value } else { format!("{}: {value}", field.name) });
    }
    given.extend(optional);
    given.push(if options.is_empty() {
        "options?: CallOptions".to_owned()
    } else {
        format!("options: CallOptions & {{ {} }} = {{}}", options.join("; "))
    });
    let result = result(surface, &method.result);
    let mut text = comment(&method.docs, 2);
    text += &signature(&camel(&method.verb), &given, &result);
    text += &format!("    const operation = \"{}\";\n", method.operation);
    let mut known = vec!["options".to_owned()];
    known.extend(named.iter().map(|name| format!("\"{name}\"")));
    text += &format!("    onlyOptions(operation, {});\n", known.join(", "));
    let args = if entries.is_empty() { "{}".to_owned() } else { braced(&entries, 4) };
    if !entries.is_empty() {
        text += &format!("    const args = {args};\n");
    }
    let args = if entries.is_empty() { "{}" } else { "args" };
    if method.result == Type::List(Box::new(Type::Named("Key".to_owned()))) {
        // Each is made when it is looked at.
        text += &format!("    return new KeyBatch(await this.#calls.many(operation, {args}, options));\n");
    } else {
        let read = answer(surface, &method.result);
        text += &format!("    return this.#calls.call(operation, {args}, {read}, options);\n");
    }
    text + "  }\n"
}

fn signature(name: &str, given: &[String], result: &str) -> String {
    let line = format!("  async {name}({}): Promise<{result}> {{\n", given.join(", "));
    if line.chars().count() <= 121 {
        return line;
    }
    let lines: Vec<String> = given.iter().map(|one| format!("    {one},\n")).collect();
    format!("  async {name}(\n{}  ): Promise<{result}> {{\n", lines.concat())
}

fn parameter_hint(surface: &Surface, field: &Field) -> String {
    match field.ty.present() {
        Type::List(inner) => match &**inner {
            Type::KeyId => "Iterable<number | Key>".to_owned(),
            inner => format!("Iterable<{}>", hint(surface, inner, true, false)),
        },
        _ => hint(surface, &field.ty, true, false),
    }
}

fn default(field: &Field) -> String {
    match &field.default {
        Some(serde_json::Value::Number(number)) => super::python::grouped(&number.to_string()),
        Some(value) => value.to_string(),
        None => "null".to_owned(),
    }
}

/// The expression of an argument's JSON.
fn argument(surface: &Surface, field: &Field, value: &str, place: Place) -> String {
    match &field.ty {
        Type::Headers => format!("headerPairs(operation, {value})"),
        Type::List(inner) if **inner == Type::KeyId => {
            let name = camel(&field.name);
            format!("list(operation, \"{name}\", {value}).map((one) => keyId(operation, \"{name}\", one))")
        }
        Type::List(inner) => match &**inner {
            Type::Named(name) => {
                format!(
                    "each(operation, \"{}\", {value}, (one) => write{name}(operation, one))",
                    camel(&field.name)
                )
            }
            _ => format!("list(operation, \"{}\", {value})", camel(&field.name)),
        },
        Type::Named(name) if !surface.is_text(name) => format!("write{name}(operation, {value})"),
        Type::KeyRef if place == Place::Given => {
            format!("keyRef(operation, \"{}\", {value})", camel(&field.name))
        }
        Type::AdminRef if place == Place::Given => {
            format!("adminRef(operation, \"{}\", {value})", camel(&field.name))
        }
        Type::Length if place == Place::Given => {
            format!("lengthText(operation, \"{}\", {value})", camel(&field.name))
        }
        _ => written(surface, field, value),
    }
}

fn result(surface: &Surface, ty: &Type) -> String {
    match ty {
        Type::List(inner) if **inner == Type::Named("Key".to_owned()) => "KeyBatch".to_owned(),
        Type::List(inner) => format!("{}[]", result(surface, inner)),
        Type::Map(inner) => format!("Record<string, {}>", result(surface, inner)),
        Type::Optional(inner) => format!("{} | null", result(surface, inner)),
        Type::Named(name) => surface.records.get(name).map_or_else(|| name.clone(), returned),
        other => hint(surface, other, false, true),
    }
}

/// The function that reads an answer.
fn answer(surface: &Surface, ty: &Type) -> String {
    if *ty == Type::Nothing {
        return "() => undefined".to_owned();
    }
    let ty_of = result(surface, ty);
    match ty {
        Type::Named(_) | Type::Map(_) | Type::Optional(_) | Type::Time | Type::Base64 => {
            reader(surface, ty).unwrap_or_else(|| format!("(json: Json): {ty_of} => json"))
        }
        _ => format!("(json: Json): {ty_of} => {}", read(surface, ty, "json")),
    }
}

/// All pages of a method that returns one.
fn iterate(surface: &Surface, method: &Method, query: &Field) -> String {
    let name = camel(&query.name);
    let ty = hint(surface, &query.ty, true, false);
    let docs =
        "Walks through everything that [`Self::find`] finds, over all pages; `limit` is the size of a page.";
    format!(
        "{}  async *iterate({name}: {ty} = {{}}, options?: CallOptions): AsyncGenerator<Key, void, undefined> {{
    let page = {name}.page ?? null;
    do {{
      const found: Page = await this.{}({{ ...{name}, limit: {name}.limit ?? 1_000, page }}, options);
      yield* found.keys;
      page = found.next;
    }} while (page !== null);
  }}
",
        comment(docs, 2),
        camel(&method.verb),
    )
}
