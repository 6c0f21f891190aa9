//! Where each Microsoft cloud has Graph and its token host, and what it calls itself to AWS. Reads no setting.

use crate::domain::target::Cloud;

/// The root of Graph, without a trailing slash. Tokens do not cross clouds, so it also names the scope.
pub fn graph_root(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Global => "https://graph.microsoft.com",
        Cloud::UsGov => "https://graph.microsoft.us",
        Cloud::UsGovDod => "https://dod-graph.microsoft.us",
        Cloud::China => "https://microsoftgraph.chinacloudapi.cn",
    }
}

/// The token host, without a trailing slash.
pub fn token_host(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Global => "https://login.microsoftonline.com",
        Cloud::UsGov | Cloud::UsGovDod => "https://login.microsoftonline.us",
        Cloud::China => "https://login.chinacloudapi.cn",
    }
}

/// What a federated credential of an application names as its audience.
pub fn federation_audience(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Global => "api://AzureADTokenExchange",
        Cloud::UsGov | Cloud::UsGovDod => "api://AzureADTokenExchangeUSGov",
        Cloud::China => "api://AzureADTokenExchangeChina",
    }
}

/// What a token is asked for. Names the cloud's own Graph also where `GRAPH_ENDPOINT` points elsewhere.
pub fn scope(cloud: Cloud) -> String {
    format!("{}/.default", graph_root(cloud))
}
