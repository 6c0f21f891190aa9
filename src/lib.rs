//! regrant repairs failed access-package deliveries in Microsoft Entra and keeps an audit trail of it.

pub mod aws;
pub mod config;
pub mod domain;
pub mod graph;
