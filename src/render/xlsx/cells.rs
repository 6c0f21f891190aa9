//! What goes into a cell and how: texts that compute nothing, dates, shares, and sheets of names with values.

use jiff::Timestamp;
use rust_xlsxwriter::{ExcelDateTime, Format, Worksheet, XlsxError};

use super::super::csv;

pub(super) struct Styles {
    pub(super) head: Format,
    pub(super) instant: Format,
    pub(super) share: Format,
}

/// A sheet of names and values, line by line.
pub(super) struct Lines<'a> {
    pub(super) sheet: &'a mut Worksheet,
    pub(super) styles: &'a Styles,
    pub(super) row: u32,
}

impl Lines<'_> {
    pub(super) fn head(&mut self, title: &str) -> Result<(), XlsxError> {
        self.row += u32::from(self.row > 0);
        self.sheet.write_string_with_format(self.row, 0, title, &self.styles.head)?;
        self.row += 1;
        Ok(())
    }

    pub(super) fn name(&mut self, name: &str) -> Result<u32, XlsxError> {
        self.sheet.write_string(self.row, 0, harmless(name.to_owned()))?;
        self.row += 1;
        Ok(self.row - 1)
    }

    pub(super) fn text(&mut self, name: &str, text: &str) -> Result<(), XlsxError> {
        let row = self.name(name)?;
        self.sheet.write_string(row, 1, harmless(text.to_owned())).map(drop)
    }

    pub(super) fn number(&mut self, name: &str, number: u64) -> Result<(), XlsxError> {
        let row = self.name(name)?;
        self.sheet.write_number(row, 1, count(number)).map(drop)
    }

    pub(super) fn maybe(&mut self, name: &str, number: Option<u64>) -> Result<(), XlsxError> {
        let row = self.name(name)?;
        number.map_or(Ok(()), |number| self.sheet.write_number(row, 1, count(number)).map(drop))
    }

    pub(super) fn share(&mut self, name: &str, share: Option<f64>) -> Result<(), XlsxError> {
        let row = self.name(name)?;
        let Some(share) = share else { return Ok(()) };
        self.sheet.write_number_with_format(row, 1, share, &self.styles.share).map(drop)
    }

    pub(super) fn instant(&mut self, name: &str, at: Option<Timestamp>) -> Result<(), XlsxError> {
        let row = self.name(name)?;
        at.map_or(Ok(()), |at| put_instant(self.sheet, row, 1, self.styles, at))
    }
}

/// Excel knows no time zone: UTC, as everywhere in the report.
pub(super) fn put_instant(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    styles: &Styles,
    at: Timestamp,
) -> Result<(), XlsxError> {
    let date = ExcelDateTime::from_timestamp(at.as_second())?;
    sheet.write_datetime_with_format(row, column, &date, &styles.instant).map(drop)
}

/// Made harmless, and no longer than a cell may be.
pub(super) fn harmless(text: String) -> String {
    /// Excel takes 32,767.
    const LONGEST: usize = 32_000;
    csv::harmless(text.chars().take(LONGEST).collect())
}

#[expect(clippy::cast_precision_loss, reason = "a spreadsheet has no other numbers")]
pub(super) fn count(number: u64) -> f64 {
    number as f64
}
