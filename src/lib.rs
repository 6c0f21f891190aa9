//! regrant repairs failed access-package deliveries in Microsoft Entra and keeps an audit trail of it.

pub mod config;
pub mod domain;
