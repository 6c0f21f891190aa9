//! The Graph simulator on the wire: what it refuses, what reprocess does.

use std::time::Duration;

use regrant::domain::target::{Guid, Target, TargetKind, Via};
use regrant::local::graph::{GraphCall, GraphSimulator, ObjectState, Simulated, random_guid};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

const PREFIX: &str = "identityGovernance/entitlementManagement";

/// A simulator and a client that has a token.
pub struct Rig {
    pub sim: GraphSimulator,
    http: Client,
    pub token: String,
}

impl Rig {
    pub async fn start() -> Self {
        let sim = GraphSimulator::start().await.unwrap();
        // The feature `rustls-no-provider` insists on a provider even for plain HTTP.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = Client::builder().no_proxy().tls_backend_preconfigured(no_trust()).build().unwrap();
        let mut rig = Self { sim, http, token: String::new() };
        rig.renew_token().await;
        rig
    }

    pub async fn renew_token(&mut self) {
        let answer = self.ask_token(&form("client_secret", "of this test")).await;
        assert_eq!(answer.status(), 200);
        self.token = body(answer).await["access_token"].as_str().unwrap().to_owned();
    }

    pub async fn ask_token(&self, form: &str) -> Response {
        let url = format!("{}/{}/oauth2/v2.0/token", self.sim.url(), random_guid());
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded");
        request.body(form.to_owned()).send().await.unwrap()
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/{path}", self.sim.url());
        self.http
            .request(method, url)
            .bearer_auth(&self.token)
            .header("client-request-id", random_guid().as_str())
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub async fn post(&self, path: &str) -> Response {
        self.request(Method::POST, path).send().await.unwrap()
    }

    pub fn failed_request(&self) -> Simulated {
        Simulated::failed_request(random_guid(), self.sim.now())
    }

    pub fn last_call(&self) -> GraphCall {
        self.sim.calls().pop().unwrap()
    }
}

fn no_trust() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

pub fn form(credential: &str, value: &str) -> String {
    let client = random_guid();
    format!(
        "grant_type=client_credentials&client_id={client}&scope=http%3A%2F%2Fx%2F.default&{credential}={value}"
    )
}

pub fn request_path(id: &Guid) -> String {
    format!("v1.0/{PREFIX}/assignmentRequests/{id}")
}

pub async fn body(answer: Response) -> Value {
    answer.json().await.unwrap()
}

pub async fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, body(answer).await["error"]["code"].as_str().unwrap().to_owned())
}

fn advance(sim: &GraphSimulator, secs: u64) {
    sim.advance(Duration::from_secs(secs));
}

#[tokio::test]
async fn failed_request_is_accepted_delivered_later_and_reads_so_in_both_versions() {
    let rig = Rig::start().await;
    let object = Simulated { delivery_delay: Duration::from_secs(60), ..rig.failed_request() };
    let Target { id, .. } = object.target.clone();
    let (package, subject) = (object.access_package_id.clone(), object.subject_id.clone().unwrap());
    rig.sim.put(object.clone());

    let answer = rig.post(&format!("{}/reprocess", request_path(&id))).await;
    assert_eq!(answer.status(), 202);
    assert!(answer.headers().contains_key("request-id"));
    assert_eq!(answer.bytes().await.unwrap().len(), 0);
    assert_eq!(rig.sim.state(&object.target), Some(ObjectState::Delivering));
    assert_eq!(body(rig.get(&request_path(&id)).await).await["state"], "delivering");

    advance(&rig.sim, 61);
    let v1 = body(rig.get(&format!("{}?$expand=accessPackage,requestor", request_path(&id))).await).await;
    assert_eq!(v1["state"], "delivered");
    assert_eq!(v1["accessPackage"]["id"], package.as_str());
    assert_eq!(v1["requestor"]["objectId"], subject.as_str());
    let beta = format!("beta/{PREFIX}/accessPackageAssignmentRequests/{id}");
    let beta = body(rig.get(&beta).await).await;
    assert_eq!(beta["requestState"], "Delivered");
    assert_eq!(beta["completedDate"], v1["completedDateTime"]);
    assert_ne!(v1["completedDateTime"], object.completed_at.unwrap().to_string());
    assert_eq!(beta.get("accessPackage"), None);
    assert_eq!(rig.sim.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn every_path_of_the_contract_is_known_and_answers_its_own_code() {
    let rig = Rig::start().await;
    let (via_request, via_role) = (random_guid(), random_guid());
    let id = random_guid();
    let via = vec![Via::AssignmentRequest(via_request.clone()), Via::ResourceRole(via_role.clone())];
    rig.sim.put(Simulated { via, ..Simulated::delivered_assignment(id.clone(), rig.sim.now()) });
    let request = rig.failed_request();
    rig.sim.put(Simulated { fail_deliveries: 9, ..request.clone() });
    let nested = format!("beta/{PREFIX}/accessPackageAssignments/{id}");
    for (path, expected) in [
        (format!("v1.0/{PREFIX}/assignments/{id}/reprocess"), 202),
        (format!("{}/reprocess", request_path(&request.target.id)), 202),
        (format!("{nested}/reprocess"), 204),
        (format!("beta/{PREFIX}/accessPackageAssignmentRequests/{}/reprocess", request.target.id), 202),
        (
            format!(
                "{nested}/accessPackageAssignmentRequests/{via_request}/accessPackageAssignment/reprocess"
            ),
            204,
        ),
        (
            format!(
                "{nested}/accessPackageAssignmentResourceRoles/{via_role}/accessPackageAssignments/{id}/reprocess"
            ),
            204,
        ),
    ] {
        assert_eq!(rig.post(&path).await.status(), expected, "{path}");
    }
    let stranger =
        format!("{nested}/accessPackageAssignmentRequests/{via_role}/accessPackageAssignment/reprocess");
    assert_eq!(code(rig.post(&stranger).await).await, (404, "ResourceNotFound".to_owned()));
    assert_eq!(rig.sim.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn unknown_paths_methods_bodies_options_and_ids_are_refused_and_noted() {
    let rig = Rig::start().await;
    let object = rig.failed_request();
    let path = request_path(&object.target.id);
    rig.sim.put(object);
    for unknown in [
        "v1.0/me".to_owned(),
        format!("v2.0/{PREFIX}/assignmentRequests/{}", random_guid()),
        format!("v1.0/{PREFIX}/accessPackageAssignments/{}", random_guid()),
        format!("beta/{PREFIX}/assignments/{}", random_guid()),
        format!("{path}/cancel"),
        format!("{path}/reprocess/"),
    ] {
        let answer = rig.get(&unknown).await;
        assert_eq!(answer.status(), 404, "{unknown}");
        let error = body(answer).await;
        let message = error["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("No HTTP resource was found that matches the request URI 'http"),
            "{message}"
        );
    }
    assert_eq!(rig.post(&path).await.status(), 405);
    assert_eq!(rig.get(&format!("{path}/reprocess")).await.status(), 405);
    let with_body = rig.request(Method::POST, &format!("{path}/reprocess")).json(&json!({}));
    assert_eq!(with_body.send().await.unwrap().status(), 400);
    assert_eq!(rig.get(&format!("{path}?$expand=accessPackage,target")).await.status(), 400);
    assert_eq!(rig.get(&format!("{path}?$select=id")).await.status(), 400);
    assert_eq!(rig.get(&request_path(&random_guid()).replace('-', "_")).await.status(), 400);
    assert_eq!(rig.sim.violations().len(), 12);
    assert_eq!(rig.sim.calls().iter().filter(|call| call.applied).count(), 0);

    let error = body(rig.get(&request_path(&random_guid())).await).await;
    assert_eq!(error["error"]["code"], "ResourceNotFound");
    assert!(error["error"]["innerError"]["request-id"].is_string());
    assert_eq!(
        error["error"]["innerError"]["client-request-id"].as_str(),
        rig.last_call().client_request_id.as_deref()
    );
    assert_eq!(rig.sim.violations().len(), 12, "an unknown object is no fault of the client");
}

#[tokio::test]
async fn post_without_a_client_request_id_works_and_is_noted() {
    let rig = Rig::start().await;
    let object = rig.failed_request();
    rig.sim.put(object.clone());
    let url = format!("{}/{}/reprocess", rig.sim.url(), request_path(&object.target.id));
    let answer = rig.http.post(url).bearer_auth(&rig.token).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(rig.sim.violations().len(), 1);
}

#[tokio::test]
async fn reprocess_is_refused_in_the_wrong_state_and_after_14_days() {
    let rig = Rig::start().await;
    let delivered = Simulated { state: ObjectState::Delivered, ..rig.failed_request() };
    let failed = rig.failed_request();
    let now = rig.sim.now();
    let expired =
        Simulated { state: ObjectState::Expired, ..Simulated::delivered_assignment(random_guid(), now) };
    for object in [&delivered, &failed, &expired] {
        rig.sim.put(object.clone());
    }
    let refused = (400, "InvalidRequestState".to_owned());
    let path = format!("{}/reprocess", request_path(&delivered.target.id));
    assert_eq!(code(rig.post(&path).await).await, refused);
    let path = format!("v1.0/{PREFIX}/assignments/{}/reprocess", expired.target.id);
    assert_eq!(code(rig.post(&path).await).await, refused);
    advance(&rig.sim, 14 * 24 * 60 * 60);
    let path = format!("{}/reprocess", request_path(&failed.target.id));
    assert_eq!(code(rig.post(&path).await).await, refused);
    assert_eq!(rig.sim.state(&failed.target), Some(ObjectState::DeliveryFailed));
}

#[tokio::test]
async fn second_reprocess_is_refused_while_the_first_is_delivering() {
    let rig = Rig::start().await;
    let object = Simulated { delivery_delay: Duration::from_secs(60), ..rig.failed_request() };
    rig.sim.put(object.clone());
    let path = format!("{}/reprocess", request_path(&object.target.id));
    assert_eq!(rig.post(&path).await.status(), 202);
    assert_eq!(rig.post(&path).await.status(), 400);
}

#[tokio::test]
async fn deliveries_fail_as_often_as_told_and_reads_lag_as_long_as_told() {
    let rig = Rig::start().await;
    let object = Simulated {
        fail_deliveries: 1,
        failed_as: ObjectState::PartiallyDelivered,
        delivery_delay: Duration::from_secs(10),
        reads_lag: Duration::from_secs(5),
        ..rig.failed_request()
    };
    rig.sim.put(object.clone());
    let path = request_path(&object.target.id);
    let state = async || body(rig.get(&path).await).await["state"].as_str().unwrap().to_owned();
    rig.post(&format!("{path}/reprocess")).await;
    assert_eq!(state().await, "deliveryFailed");
    advance(&rig.sim, 5);
    assert_eq!(state().await, "delivering");
    advance(&rig.sim, 5);
    assert_eq!(state().await, "partiallyDelivered");
    rig.post(&format!("{path}/reprocess")).await;
    advance(&rig.sim, 10);
    assert_eq!(state().await, "delivered");
}

#[tokio::test]
async fn same_id_may_be_an_assignment_and_a_request() {
    let rig = Rig::start().await;
    let request = rig.failed_request();
    let id = request.target.id.clone();
    rig.sim.put(request);
    rig.sim.put(Simulated::delivered_assignment(id.clone(), rig.sim.now()));
    let state = |kind| rig.sim.state(&Target { kind, id: id.clone() });
    assert_eq!(state(TargetKind::AssignmentRequest), Some(ObjectState::DeliveryFailed));
    assert_eq!(state(TargetKind::Assignment), Some(ObjectState::Delivered));
}

#[tokio::test]
async fn lists_are_filtered_paged_by_links_of_our_own_host_and_refuse_everything_else() {
    let rig = Rig::start().await;
    let package = random_guid();
    for _ in 0..7 {
        rig.sim.put(Simulated { access_package_id: package.clone(), ..rig.failed_request() });
    }
    rig.sim.put(Simulated { state: ObjectState::PartiallyDelivered, ..rig.failed_request() });
    rig.sim.put(Simulated::delivered_assignment(random_guid(), rig.sim.now()));
    let filter = format!("accessPackage/id eq '{package}' and state eq 'DeliveryFailed'");
    let mut path = format!("v1.0/{PREFIX}/assignmentRequests?$filter={filter}&$expand=accessPackage");
    let (mut pages, mut seen) = (0, std::collections::BTreeSet::new());
    loop {
        let page = body(rig.get(&path).await).await;
        let entries = page["value"].as_array().unwrap();
        assert!(entries.iter().all(|entry| entry["accessPackage"]["id"] == package.as_str()));
        seen.extend(entries.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(link) = page["@odata.nextLink"].as_str() else { break };
        path = link.strip_prefix(&format!("{}/", rig.sim.url())).unwrap().to_owned();
    }
    assert_eq!((pages, seen.len()), (3, 7));
    let all = body(
        rig.get(&format!("beta/{PREFIX}/assignmentRequests?$filter=requestState eq 'PartiallyDelivered'"))
            .await,
    )
    .await;
    assert_eq!(all["value"].as_array().unwrap().len(), 1);
    assert_eq!(rig.sim.violations(), Vec::<String>::new());
    for query in [
        "$filter=state ne 'deliveryFailed'",
        "$filter=completedDateTime eq '2026'",
        "$filter=state eq deliveryFailed",
        "$filter=requestState eq 'DeliveryFailed'",
        "$top=5",
        "$skiptoken=guessed",
        "$expand=*",
    ] {
        let answer = rig.get(&format!("v1.0/{PREFIX}/assignmentRequests?{query}")).await;
        assert_eq!(code(answer).await, (400, "InvalidFilter".to_owned()), "{query}");
    }
    assert_eq!(rig.sim.violations().len(), 7);
    let long = rig.get(&format!("beta/{PREFIX}/accessPackageAssignmentRequests")).await;
    assert_eq!(long.status(), 404, "only the name that is not to be retired");
}
