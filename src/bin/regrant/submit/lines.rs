//! What `regrant submit` is given, line by line: ids, CSV or JSON Lines, each checked as the worker would. Sends
//! nothing.

use regrant::domain::request::{Request, shorten};
use regrant::domain::target::ApiVersion;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A request and where it stands: `line 3`, or `argument 2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub place: String,
    pub request: Request,
}

/// What is wrong, with its place in front.
pub type Fault = String;

/// What the options say for every request that says nothing itself.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    pub fields: Map<String, Value>,
    pub api_version: ApiVersion,
}

/// Every request, and every fault; to be sent only if there is none.
#[derive(Debug, Default)]
pub struct Lines {
    pub good: Vec<Line>,
    pub faults: Vec<Fault>,
}

const COLUMNS: [&str; 9] = [
    "target",
    "id",
    "apiVersion",
    "via.assignmentRequest",
    "via.resourceRole",
    "requestId",
    "requestedBy",
    "reason",
    "ticket",
];

impl Lines {
    pub fn add_ids(&mut self, ids: &[String], defaults: &Defaults) {
        for (at, id) in ids.iter().enumerate() {
            let mut fields = defaults.fields.clone();
            fields.insert("id".to_owned(), id.as_str().into());
            self.add(format!("argument {}", at + 1), &Value::from(fields).to_string(), defaults);
        }
    }

    /// A file that begins with `{` is JSON Lines, any other is CSV with a header.
    pub fn add_file(&mut self, text: &str, defaults: &Defaults) {
        // Spreadsheets put a byte order mark before everything.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_start().starts_with('{') {
            self.add_json(text, defaults);
        } else {
            self.add_csv(text, defaults);
        }
    }

    fn add_json(&mut self, text: &str, defaults: &Defaults) {
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            // What is missing is written behind the rest: a doubled field of the line's own stays one, and is found.
            let present = serde_json::from_str::<Map<String, Value>>(line).unwrap_or_default();
            let missing = defaults.fields.iter().filter(|(name, _)| !present.contains_key(*name));
            let missing =
                missing.map(|(name, value)| format!(",{}:{value}", json!(name))).collect::<String>();
            let body = match line.trim_end().strip_suffix('}') {
                Some(fields) if !present.is_empty() => format!("{fields}{missing}}}"),
                _ => line.to_owned(),
            };
            self.add(format!("line {}", at + 1), &body, defaults);
        }
    }

    fn add_csv(&mut self, text: &str, defaults: &Defaults) {
        let header = text.lines().next().unwrap_or_default();
        let delimiter = if header.contains(';') && !header.contains(',') { b';' } else { b',' };
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(text.as_bytes());
        let columns = match reader.headers() {
            Ok(columns) => columns.clone(),
            Err(error) => return self.faults.push(format!("line 1: {error}")),
        };
        for (at, column) in columns.iter().enumerate() {
            if !COLUMNS.contains(&column) {
                self.faults.push(format!(
                    "line 1: `{}` is not a column; the columns are {}",
                    shorten(column),
                    COLUMNS.join(", ")
                ));
            } else if columns.iter().take(at).any(|earlier| earlier == column) {
                self.faults.push(format!("line 1: the column `{column}` stands twice"));
            }
        }
        if !self.faults.is_empty() {
            return;
        }
        for row in reader.records() {
            match row {
                Ok(row) => {
                    let line = row.position().map_or(0, csv::Position::line);
                    self.add(format!("line {line}"), &body_of(&columns, &row, defaults), defaults);
                }
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    self.faults.push(format!("line {line}: not as many cells as line 1, or not UTF-8"));
                }
            }
        }
    }

    /// The request id is made here, so that a message sent twice is one request.
    fn add(&mut self, place: String, body: &str, defaults: &Defaults) {
        let request_id = format!("cli:{}", Uuid::new_v4());
        match Request::parse(body, &request_id, defaults.api_version) {
            Ok(request) => self.good.push(Line { place, request }),
            Err(error) => self.faults.push(format!("{place}: {error}")),
        }
    }
}

/// Empty cells say nothing.
fn body_of(columns: &csv::StringRecord, row: &csv::StringRecord, defaults: &Defaults) -> String {
    let (mut fields, mut via) = (defaults.fields.clone(), Map::new());
    for (column, cell) in columns.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
        match column.strip_prefix("via.") {
            Some(column) => via.insert(column.to_owned(), cell.into()),
            None => fields.insert(column.to_owned(), cell.into()),
        };
    }
    if !via.is_empty() {
        fields.insert("via".to_owned(), via.into());
    }
    Value::from(fields).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "d82eb508-acc4-43cc-bcf1-7c1c4a2c073b";

    fn defaults() -> Defaults {
        let fields = json!({ "target": "assignmentRequest", "ticket": "INC1" });
        Defaults { fields: fields.as_object().unwrap().clone(), ..Defaults::default() }
    }

    fn read(text: &str) -> Lines {
        let mut lines = Lines::default();
        lines.add_file(text, &defaults());
        lines
    }

    #[test]
    fn csv_and_json_lines_say_the_same() {
        let csv = read(&format!("\u{feff}id;reason;ticket\r\n{ID};outage;\r\n\r\n{ID};;INC2\r\n"));
        let json = read(&format!(
            "{{\"id\":\"{ID}\",\"reason\":\"outage\"}}\n\n{{\"id\":\"{ID}\",\"ticket\":\"INC2\"}}\n"
        ));
        assert_eq!((&csv.faults, &json.faults), (&Vec::new(), &Vec::new()));
        for lines in [csv, json] {
            let said = lines.good.iter().map(|line| {
                let request = &line.request;
                (request.target.kind.as_str(), request.reason.as_deref(), request.ticket.as_deref())
            });
            let expected = [
                ("assignmentRequest", Some("outage"), Some("INC1")),
                ("assignmentRequest", None, Some("INC2")),
            ];
            assert!(said.eq(expected));
            assert!(lines.good[0].request.request_id.as_str().starts_with("cli:"));
        }
    }

    #[test]
    fn every_bad_line_is_named() {
        let doubled = format!("{{\"id\":\"{ID}\",\"id\":\"{ID}\"}}");
        let lines = read(&format!("{doubled}\n{{\"id\":\"x\"}}\n{{}}\nnothing\n"));
        let places = lines.faults.iter().map(|fault| fault.split(": ").next().unwrap()).collect::<Vec<_>>();
        assert_eq!(places, ["line 1", "line 2", "line 3", "line 4"]);
        assert!(lines.faults[0].contains("`id` stands twice"), "{}", lines.faults[0]);
        let lines = read(&format!("id,tickets\n{ID},INC1\n"));
        assert!(lines.faults[0].starts_with("line 1: `tickets` is not a column"), "{}", lines.faults[0]);
        let lines = read(&format!("id,ticket\n{ID}\nx,y\n"));
        assert_eq!(lines.faults[0], "line 2: not as many cells as line 1, or not UTF-8");
        assert!(lines.faults[1].starts_with("line 3: `id` must be a GUID"), "{}", lines.faults[1]);
    }
}
