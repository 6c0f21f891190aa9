//! The report as one JSON document, indented.

use std::io::{self, Write};

use crate::domain::report::Report;

pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report).map_err(io::Error::from)?;
    out.write_all(b"\n")
}
