//! The surface as the emitters of Python and TypeScript read it: types, records and methods, out of JSON Schemas.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The type of a field, of a parameter or of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Nothing,
    Anything,
    Bool,
    Int,
    /// An id, or a text that names the same.
    IntOrText,
    Text,
    /// A number of bytes.
    Size,
    /// A length of time.
    Length,
    /// A point in time.
    Time,
    /// A file or a directory.
    Path,
    Ip,
    /// Text that languages may show as bytes.
    Utf8,
    /// Bytes.
    Base64,
    /// The headers of an HTTP request.
    Headers,
    /// A key by its id, name or UUID.
    KeyRef,
    AdminRef,
    KeyId,
    /// A record, a union or a set of strings.
    Named(String),
    List(Box<Self>),
    Map(Box<Self>),
    Optional(Box<Self>),
}

impl Type {
    /// The type without `null`.
    pub(super) fn present(&self) -> &Self {
        match self {
            Self::Optional(inner) => inner,
            other => other,
        }
    }

    fn names(&self, found: &mut Vec<String>) {
        match self {
            Self::Named(name) => found.push(name.clone()),
            Self::List(inner) | Self::Map(inner) | Self::Optional(inner) => inner.names(found),
            _ => {}
        }
    }
}

/// A field of a record, or a parameter of an operation.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) docs: String,
    pub(super) ty: Type,
    /// It has no default.
    pub(super) required: bool,
    pub(super) default: Option<Value>,
    /// It is optional, and taken by its place.
    pub(super) positional: bool,
    /// Left out, it stays; `null` takes its value away.
    pub(super) patch: bool,
    pub(super) secret: bool,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Shape {
    Record(Vec<Field>),
    /// One of these strings, each with its documentation.
    Strings(Vec<(String, String)>),
    /// One of these records; JSON tells them apart by `type`.
    Union(Vec<Variant>),
}

/// A record of a union.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) tag: String,
    pub(super) class: String,
    pub(super) docs: String,
    pub(super) fields: Vec<Field>,
}

/// A named type.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) docs: String,
    pub(super) shape: Shape,
    /// It is given to operations.
    pub(super) given: bool,
    /// Operations return it.
    pub(super) returned: bool,
}

/// A parameter: what the schema says of it, and how it is passed.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) field: Field,
    /// Its record's fields are parameters of the method.
    pub(super) spread: bool,
}

/// An operation.
#[derive(Debug)]
pub(super) struct Method {
    /// `keys.create`
    pub(super) operation: String,
    /// `keys`; `kit` of the kit itself.
    pub(super) noun: String,
    /// `create`
    pub(super) verb: String,
    pub(super) docs: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) result: Type,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Surface {
    /// By name.
    pub(super) records: BTreeMap<String, Record>,
    /// In the order of the facade.
    pub(super) methods: Vec<Method>,
}

impl Surface {
    /// Reads `operations.json` and the definitions of `records.json`. `inputs` are records that are given to something
    /// that is no operation.
    pub(super) fn read(operations: &[Value], definitions: &Map<String, Value>, inputs: &[&str]) -> Self {
        let mut records: BTreeMap<String, Record> =
            definitions.iter().map(|(name, schema)| (name.clone(), record(name, schema))).collect();
        let methods: Vec<Method> = operations.iter().map(method).collect();
        let mut given: Vec<String> = inputs.iter().map(|&name| name.to_owned()).collect();
        let mut returned = Vec::new();
        for method in &methods {
            method.parameters.iter().for_each(|parameter| parameter.field.ty.names(&mut given));
            method.result.names(&mut returned);
        }
        reach(&mut records, given, |record| &mut record.given);
        reach(&mut records, returned, |record| &mut record.returned);
        Self { records, methods }
    }

    /// The nouns in the order of the facade, each with its methods; those of the kit itself are left out.
    pub(super) fn nouns(&self) -> Vec<(&str, Vec<&Method>)> {
        let mut nouns: Vec<(&str, Vec<&Method>)> = Vec::new();
        for method in self.methods.iter().filter(|method| method.noun != "kit") {
            match nouns.iter_mut().find(|(noun, _)| *noun == method.noun) {
                Some((_, methods)) => methods.push(method),
                None => nouns.push((&method.noun, vec![method])),
            }
        }
        nouns
    }

    /// The fields of a record; none of everything else.
    pub(super) fn fields(&self, ty: &Type) -> &[Field] {
        match ty {
            Type::Named(name) => match self.records.get(name).map(|record| &record.shape) {
                Some(Shape::Record(fields)) => fields,
                _ => &[],
            },
            _ => &[],
        }
    }

    /// Whether a name stands for strings.
    pub(super) fn is_text(&self, name: &str) -> bool {
        self.records.get(name).is_some_and(|record| matches!(record.shape, Shape::Strings(_)))
    }

    /// The records with every one after those that it uses, so that a language may read them from top to bottom.
    pub(super) fn ordered(&self) -> Vec<&Record> {
        fn visit<'a>(surface: &'a Surface, name: &str, ordered: &mut Vec<&'a Record>) {
            let Some(record) = surface.records.get(name) else { return };
            if ordered.iter().any(|seen| seen.name == name) {
                return;
            }
            for used in used(record) {
                if used != name {
                    visit(surface, &used, ordered);
                }
            }
            ordered.push(record);
        }
        let mut ordered = Vec::new();
        for name in self.records.keys() {
            visit(self, name, &mut ordered);
        }
        ordered
    }
}

fn used(record: &Record) -> Vec<String> {
    let mut names = Vec::new();
    match &record.shape {
        Shape::Record(fields) => fields.iter().for_each(|field| field.ty.names(&mut names)),
        Shape::Union(variants) => {
            variants.iter().flat_map(|variant| &variant.fields).for_each(|field| field.ty.names(&mut names));
        }
        Shape::Strings(_) => {}
    }
    names
}

fn reach(records: &mut BTreeMap<String, Record>, mut from: Vec<String>, mark: fn(&mut Record) -> &mut bool) {
    while let Some(name) = from.pop() {
        if let Some(record) = records.get_mut(&name)
            && !std::mem::replace(mark(record), true)
        {
            from.extend(used(record));
        }
    }
}

fn method(operation: &Value) -> Method {
    let name = text(operation, "name");
    let (noun, verb) = name.split_once('.').unwrap_or(("kit", &name));
    let arguments = fields(operation.get("arguments").unwrap_or(&Value::Null));
    let described = operation.get("parameters").and_then(Value::as_array);
    let flag = |place: usize, flag: &str| {
        let parameter = described.and_then(|all| all.get(place));
        parameter.and_then(|parameter| parameter.get(flag)).and_then(Value::as_bool).unwrap_or(false)
    };
    let parameters = arguments.into_iter().enumerate().map(|(place, field)| Parameter {
        field: Field { positional: flag(place, "positional"), ..field },
        spread: flag(place, "spread"),
    });
    Method {
        noun: noun.to_owned(),
        verb: verb.to_owned(),
        docs: text(operation, "docs"),
        parameters: parameters.collect(),
        result: read_type(operation.get("result").unwrap_or(&Value::Null)),
        operation: name,
    }
}

fn record(name: &str, schema: &Value) -> Record {
    let prefix = text(schema, "x-prefix");
    let shape = match schema.get("oneOf").and_then(Value::as_array) {
        Some(all) if all.iter().all(|one| one.get("const").is_some()) => {
            Shape::Strings(all.iter().map(|one| (text(one, "const"), text(one, "description"))).collect())
        }
        Some(all) => Shape::Union(all.iter().map(|one| variant(name, &prefix, one)).collect()),
        None => Shape::Record(fields(schema)),
    };
    Record { name: name.to_owned(), docs: text(schema, "description"), shape, given: false, returned: false }
}

fn variant(union: &str, prefix: &str, schema: &Value) -> Variant {
    let tag = schema.pointer("/properties/type/const").and_then(Value::as_str).unwrap_or_default();
    let class = if tag == "none" { format!("No{union}") } else { format!("{prefix}{}", pascal(tag)) };
    let mut fields = fields(schema);
    fields.retain(|field| field.name != "type");
    Variant { tag: tag.to_owned(), class, docs: text(schema, "description"), fields }
}

fn fields(schema: &Value) -> Vec<Field> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let flag = |field: &Value, name: &str| field.get(name).and_then(Value::as_bool).unwrap_or(false);
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, field)| Field {
            name: name.clone(),
            docs: text(field, "description"),
            ty: read_type(field),
            required: required.contains(&name.as_str()) || flag(field, "x-required"),
            default: field.get("default").cloned(),
            positional: flag(field, "x-positional"),
            patch: flag(field, "x-patch"),
            secret: flag(field, "x-secret") || field.get("format").is_some_and(|format| format == "secret"),
        })
        .collect()
}

fn read_type(schema: &Value) -> Type {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return Type::Named(reference.rsplit('/').next().unwrap_or_default().to_owned());
    }
    if let Some(one) = schema.pointer("/anyOf/0") {
        return Type::Optional(Box::new(read_type(one)));
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return Type::Anything,
    };
    let inner = match (text(schema, "format").as_str(), *kinds.first().unwrap_or(&"null")) {
        ("bytes", _) => Type::Size,
        ("duration-text", _) => Type::Length,
        ("date-time", _) => Type::Time,
        ("path", _) => Type::Path,
        ("ip", _) => Type::Ip,
        ("utf-8", _) => Type::Utf8,
        ("base64", _) => Type::Base64,
        ("headers", _) => Type::Headers,
        ("key-ref", _) => Type::KeyRef,
        ("admin-ref", _) => Type::AdminRef,
        ("key-id", _) => Type::KeyId,
        (_, "integer") if kinds.contains(&"string") => Type::IntOrText,
        (_, "boolean") => Type::Bool,
        (_, "integer" | "number") => Type::Int,
        (_, "string") => Type::Text,
        (_, "array") => Type::List(Box::new(read_type(schema.get("items").unwrap_or(&Value::Null)))),
        (_, "object") => match schema.get("additionalProperties") {
            Some(value) if value.is_object() => Type::Map(Box::new(read_type(value))),
            _ => Type::Anything,
        },
        _ => return Type::Nothing,
    };
    if kinds.contains(&"null") { Type::Optional(Box::new(inner)) } else { inner }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// `WebSocket` of `web_socket`.
pub(super) fn pascal(name: &str) -> String {
    name.split('_').map(capitalized).collect()
}

/// `dataLimit` of `data_limit`.
pub(super) fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    first + &words.map(capitalized).collect::<String>()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Whether a text has a name as a word of its own.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(place, _)| {
        let before = text.get(..place).and_then(|before| before.chars().next_back());
        let after = text.get(place + name.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(letter) && !after.is_some_and(letter)
    })
}
