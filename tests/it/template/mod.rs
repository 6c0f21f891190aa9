//! `template.yaml` keeps what the queue's promises and the audit trail rely on; each broken rule is named.
//!
//! It reads the template as written: a setting that CloudFormation computes is checked by its parts.

mod alarms;
mod broken;
mod broken_rights;
mod queues;
mod rights;
mod settings;
mod stores;

use std::collections::BTreeSet;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// YAML as JSON; a short form like `!GetAtt A.B` becomes its long form `{"Fn::GetAtt": "A.B"}`.
fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Sequence(items) => items.iter().map(to_json).collect(),
        Yaml::Mapping(entries) => {
            let entry = |(key, value): (&Yaml, &Yaml)| {
                (key.as_str().expect("every key is a text").to_owned(), to_json(value))
            };
            Value::Object(entries.iter().map(entry).collect())
        }
        Yaml::Tagged(tag, inner) => {
            let name = match tag.suffix.as_str() {
                plain @ ("Ref" | "Condition") => plain.to_owned(),
                function => format!("Fn::{function}"),
            };
            Value::Object(Map::from_iter([(name, to_json(inner))]))
        }
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => panic!("unreadable: {yaml:?}"),
    }
}

fn template() -> Value {
    let documents =
        Yaml::load_from_str(include_str!("../../../template.yaml")).expect("the template is YAML");
    to_json(&documents[0])
}

/// All branches of every `Fn::If`, without `AWS::NoValue`: a rule must hold whichever is chosen.
fn branches(value: &Value) -> Vec<&Value> {
    match value.get("Fn::If").and_then(Value::as_array) {
        Some(parts) => parts[1..].iter().flat_map(branches).collect(),
        None if value == &json!({"Ref": "AWS::NoValue"}) => Vec::new(),
        None => vec![value],
    }
}

fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().flat_map(branches).collect(),
        one => branches(one),
    }
}

fn texts(value: &Value) -> BTreeSet<String> {
    list(value).into_iter().map(|text| text.as_str().unwrap_or("(computed)").to_owned()).collect()
}

/// The logical id that a `Ref` or `GetAtt` names.
fn named(value: &Value) -> Option<&str> {
    let name = value.get("Ref").or_else(|| value.get("Fn::GetAtt"))?;
    name.as_str().or_else(|| name.get(0)?.as_str())?.split('.').next()
}

struct Template {
    resources: Map<String, Value>,
    global_timeout: Value,
}

impl Template {
    fn of(template: &Value) -> Self {
        Self {
            resources: template["Resources"].as_object().expect("there are resources").clone(),
            global_timeout: template["Globals"]["Function"]["Timeout"].clone(),
        }
    }

    fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.resources
            .iter()
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(name, resource)| (name.as_str(), resource))
    }

    fn properties(&self, reference: &Value) -> &Value {
        named(reference)
            .and_then(|name| self.resources.get(name))
            .map_or(&Value::Null, |resource| &resource["Properties"])
    }
}

/// What breaks a rule, in words.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn check(&mut self, holds: bool, fault: impl Into<String>) {
        if !holds {
            self.0.push(fault.into());
        }
    }
}

/// Everything in the template that breaks a rule.
fn faults(value: &Value) -> Vec<String> {
    let template = Template::of(value);
    let mut faults = Faults::default();
    queues::check(&template, &mut faults);
    rights::check(&template, &mut faults);
    stores::check(&template, &mut faults);
    settings::check(&template, &mut faults);
    alarms::check(&template, &mut faults);
    faults.0
}

#[test]
fn template_keeps_every_rule() {
    assert_eq!(faults(&template()), Vec::<String>::new());
}

#[test]
fn example_of_answers_names_parameters_of_the_template() {
    let template = template();
    let example = include_str!("../../../samconfig.example.toml");
    let named = example.lines().filter_map(|line| {
        let answer = line.trim().trim_start_matches("# ").strip_prefix('"')?;
        Some(answer.split_once('=').expect("a name and its value").0)
    });
    let named = named.collect::<BTreeSet<_>>();
    for name in &named {
        assert!(template["Parameters"].get(name).is_some(), "{name} is no parameter");
    }
    for (name, parameter) in template["Parameters"].as_object().unwrap() {
        let answered = named.contains(name.as_str());
        assert!(answered || parameter.get("Default").is_some(), "{name} has no default and no example");
    }
}

#[test]
fn every_parameter_says_what_it_wants_and_stands_in_a_group() {
    let template = template();
    let interface = &template["Metadata"]["AWS::CloudFormation::Interface"];
    let groups = interface["ParameterGroups"].as_array().unwrap();
    let grouped = groups.iter().flat_map(|group| texts(&group["Parameters"])).collect::<BTreeSet<_>>();
    let parameters = template["Parameters"].as_object().unwrap();
    assert_eq!(grouped, parameters.keys().cloned().collect());
    for (name, parameter) in parameters {
        assert!(parameter["Description"].is_string(), "{name} has no description");
        assert!(interface["ParameterLabels"][name]["default"].is_string(), "{name} has no label");
        let free = parameter["Type"] == "String" && parameter["AllowedValues"].is_null();
        assert!(!free || parameter["AllowedPattern"].is_string(), "{name} takes any text");
    }
}
