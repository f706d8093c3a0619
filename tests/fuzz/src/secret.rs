//! What the API server answers for a Secret: the first line is a status, or `value`; then the body, or what stands
//! under the key. It is an API key, or an error that tells nothing of it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use hostup_operator::api::shared::CredentialsSecretRef;
use hostup_operator::api_server::answered;
use hostup_operator::cluster::secrets::{NoCredentials, Secrets};
use hostup_operator::domain::values::ids::VpsId;
use hostup_operator::hostup::Response;
use http::HeaderMap;
use http::Response as HttpResponse;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::client::Body;
use secrecy::ExposeSecret;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceBuilder;

use crate::account::{Asked, clock, done};
use crate::repeat::split;

/// Answers for a Secret of the status are these, and no others.
const UNUSABLE: [&str; 3] = [
    "Secret shop/hostup-api cannot be read: the API server's answer is not a Secret",
    "Secret shop/hostup-api has no key token; add it with the HostUp API key",
    "the key token of Secret shop/hostup-api does not contain an API key: it is empty, too long, or not plain text",
];

/// One Secret.
pub fn run(input: &[u8]) {
    let (status, body) = split(input, b"\n").unwrap_or((b"", input));
    let (status, body) = if status == b"value" {
        (200, holding(body))
    } else {
        let status = std::str::from_utf8(status)
            .ok()
            .and_then(|text| text.parse().ok());
        (status.unwrap_or(200).clamp(200, 999), body.to_vec())
    };
    API_SERVER.with_borrow_mut(|api_server| api_server.answer(status, body));
}

fn holding(value: &[u8]) -> Vec<u8> {
    let secret = Secret {
        data: Some([("token".to_owned(), ByteString(value.to_vec()))].into()),
        ..Secret::default()
    };
    serde_json::to_vec(&secret).expect("a Secret can be written")
}

thread_local! {
    static API_SERVER: RefCell<ApiServer> = RefCell::new(ApiServer::start());
}

struct ApiServer {
    runtime: Runtime,
    secrets: Secrets,
    next: Arc<Mutex<(u16, Vec<u8>)>>,
}

impl ApiServer {
    fn start() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let next: Arc<Mutex<(u16, Vec<u8>)>> = Arc::default();
        let given = next.clone();
        let service = ServiceBuilder::new().map_result(answered).service_fn(move |_| {
            let (status, body) = given.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let answer = HttpResponse::builder().status(status).body(Body::from(body));
            async move { Ok::<_, Infallible>(answer.expect("an answer")) }
        });
        let secrets = {
            let _entered = runtime.enter();
            Secrets::new(Client::new(service, "shop"), clock())
        };
        Self {
            runtime,
            secrets,
            next,
        }
    }

    fn answer(&mut self, status: u16, body: Vec<u8>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = (status, body);
        let wanted = CredentialsSecretRef::default();
        let read = self.runtime.block_on(self.secrets.get("shop", &wanted));
        self.secrets.forget("shop", &wanted);
        let well = (200..300).contains(&status);
        match read {
            Ok(credentials) => {
                assert!(well, "a key by status {status}");
                is_a_key(credentials.key.expose_secret());
            }
            Err(NoCredentials::Missing(why)) => assert!(!well || UNUSABLE.contains(&why.as_str()), "{why}"),
            Err(NoCredentials::Unread(error)) => assert!(!well, "{error}"),
        }
    }
}

fn is_a_key(key: &str) {
    assert!((1..=4096).contains(&key.len()) && key.trim() == key, "{key:?}");
    assert!(key.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{key:?}");
    // Shorter ones are in every text, and stars stand where one was.
    if key.len() < 6 || key.contains('*') {
        return;
    }
    let quoted = serde_json::to_string(key).expect("a text");
    let spelled = [
        key.to_owned(),
        quoted.trim_matches('"').to_owned(),
        quoted.trim_matches('"').replace('/', "\\/"),
    ];
    // Of a body that can be read, and of one that cannot.
    let in_our_words = [refused(key, ""), refused(key, "\"")]
        .iter()
        .any(|words| words.contains(key));
    for spelling in spelled {
        let text = refused(key, &spelling);
        assert!(!text.contains(key) || in_our_words, "the key is shown: {text}");
    }
}

/// What a person reads where HostUp's refusal has `echo` in it.
fn refused(key: &str, echo: &str) -> String {
    let mut answer = Response::new(401, HeaderMap::new());
    answer.take_in(format!("{{\"detail\":\"no key {echo} is known\"}}").as_bytes());
    let asked = Asked::with_key(key, [answer]);
    let error = done(asked.account.own_vps(&VpsId::new("vps_a"))).expect_err("it was refused");
    format!("{error} {error:?}")
}
