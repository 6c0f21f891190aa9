//! Reports in the formats that people and programs read. Computes no figure; whatever comes from a record is
//! escaped for the format it is put into.

pub mod csv;
pub mod html;
pub mod json;
pub mod ocsf;
pub mod svg;
pub mod words;

#[cfg(feature = "cli")]
pub mod table;
#[cfg(feature = "cli")]
pub mod xlsx;
