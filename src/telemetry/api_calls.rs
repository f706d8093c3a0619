//! Counts the calls to the API server. What is sent and answered goes through as it is.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tower::{Layer, Service};

use super::metrics::Metrics;

/// Puts the counter around a client's service.
#[derive(Clone)]
pub struct CountApiCalls(pub Arc<Metrics>);

impl<S> Layer<S> for CountApiCalls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            metrics: self.0.clone(),
        }
    }
}

/// A service whose calls are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = request.method().clone();
        let host = request
            .uri()
            .authority()
            .map_or_else(String::new, ToString::to_string);
        let metrics = self.metrics.clone();
        self.inner
            .call(request)
            .inspect(move |answered| {
                let status = answered.as_ref().map(Response::status);
                // As client-go names the code of a call without an answer.
                let code = status.as_ref().map_or("<error>", |status| status.as_str());
                metrics.api_call(code, method.as_str(), &host);
            })
            .boxed()
    }
}
