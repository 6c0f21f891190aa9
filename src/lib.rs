//! regrant repairs failed access-package deliveries in Microsoft Entra and keeps an audit trail of it.

pub mod config;
pub mod domain;
#[cfg(feature = "local")]
pub mod local;
pub mod worker;
