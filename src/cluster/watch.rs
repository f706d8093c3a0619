//! One watch: the list, the changes after it, and a deadline on all that opens it.
//!
//! kube has a watcher too. It asks for the list in the one way that it was told to, for ever, and waits without
//! end for a list or a watch to open.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{Error, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::error::Elapsed;

use crate::cluster::api_call::{self, ApiError};

/// The API server ends a watch after so long, and it is opened again.
const LASTS_SECONDS: u32 = 60;
/// A watch that is silent for so long is dead.
const SILENCE: Duration = Duration::from_secs(LASTS_SECONDS as u64 + 5);
/// Objects in one page of a list. Pages of several kinds are in memory at a time, each whole and for a moment twice, and an object may have more
/// than a megabyte.
const PAGE: u32 = 10;
/// Marks the end of a list that is streamed.
const END_OF_LIST: &str = "k8s.io/initial-events-end";

/// Whether the API server has shown life on a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It answered when it was asked to open; that it brings anything is not known yet.
    Opened,
    /// Something came: a list, a change, a bookmark, or the end that it announced.
    Seen,
    /// It could not be listed, opened or read.
    Failed,
}

/// Every object, and every change after that, for ever; an error means that it is tried again. The list is
/// streamed where the API server has that, which each new list finds out by trying. `told` hears of every
/// sign of life, also where nothing changes: a watch is opened again at least once a minute.
pub fn watch<K>(
    api: Api<K>,
    told: impl Fn(Life) + Send + 'static,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let watch = Watch {
        api,
        told,
        position: Position::Nowhere,
        pending: VecDeque::new(),
        is_new: false,
    };
    stream::unfold(watch, |mut watch| async move {
        let next = watch.next().await;
        if next.is_err() {
            (watch.told)(Life::Failed);
        }
        Some((next, watch))
    })
}

type Changes<K> = BoxStream<'static, kube::Result<WatchEvent<K>>>;

enum Position<K> {
    /// Nothing is known; the list comes first.
    Nowhere,
    /// Within a list that is read by pages.
    Paging(Option<String>),
    /// Within a list that is streamed.
    Streaming(Changes<K>),
    /// All is known up to a version.
    At(String),
    /// Changes are read.
    Open(String, Changes<K>),
}

struct Watch<K, F> {
    api: Api<K>,
    told: F,
    position: Position<K>,
    pending: VecDeque<Event<K>>,
    /// The watch that is open has brought nothing yet.
    is_new: bool,
}

impl<K, F> Watch<K, F>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    F: Fn(Life),
{
    async fn next(&mut self) -> Result<Event<K>, Error> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            // Where a step fails without another word, all is listed anew.
            let position = std::mem::replace(&mut self.position, Position::Nowhere);
            self.position = self.step(position).await?;
        }
    }

    async fn step(&mut self, position: Position<K>) -> Result<Position<K>, Error> {
        match position {
            Position::Nowhere => {
                // Without a version the list shows all that was written before; with "0" it may be of long ago.
                let streamed = match self.open("", true).await {
                    Ok(changes) => Position::Streaming(changes),
                    Err(error) if streams_no_lists(&error) => Position::Paging(None),
                    Err(error) => return Err(Error::WatchStartFailed(error)),
                };
                self.pending.push_back(Event::Init);
                Ok(streamed)
            }
            Position::Paging(token) => self.page(token).await,
            Position::Streaming(mut changes) => match next_change(&mut changes).await.unwrap_or(None) {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    self.pending.push_back(Event::InitApply(object));
                    Ok(Position::Streaming(changes))
                }
                Some(Ok(WatchEvent::Bookmark(mark)))
                    if mark.metadata.annotations.contains_key(END_OF_LIST) =>
                {
                    (self.told)(Life::Seen);
                    self.is_new = false;
                    self.pending.push_back(Event::InitDone);
                    Ok(Position::Open(mark.metadata.resource_version, changes))
                }
                Some(Ok(WatchEvent::Bookmark(_))) => Ok(Position::Streaming(changes)),
                Some(Ok(WatchEvent::Error(status))) => Err(Error::WatchError(status.boxed())),
                Some(Err(error)) => Err(Error::WatchFailed(error)),
                // An API server that does not know `sendInitialEvents` ends the stream without the mark. A deleted object may
                // be in this list already; a list by pages shows one moment.
                None | Some(Ok(WatchEvent::Deleted(_))) => {
                    self.pending.push_back(Event::Init);
                    Ok(Position::Paging(None))
                }
            },
            Position::At(version) => match self.open(&version, false).await {
                Ok(changes) => Ok(Position::Open(version, changes)),
                Err(error) => {
                    if !is_gone(&error) {
                        self.position = Position::At(version);
                    }
                    Err(Error::WatchStartFailed(error))
                }
            },
            Position::Open(version, changes) => self.change(version, changes).await,
        }
    }

    async fn page(&mut self, token: Option<String>) -> Result<Position<K>, Error> {
        let mut params = ListParams::default().limit(PAGE);
        params.continue_token = token;
        let page = within(self.api.list(&params))
            .await
            .map_err(Error::InitialListFailed)?;
        (self.told)(Life::Seen);
        self.pending.extend(page.items.into_iter().map(Event::InitApply));
        let named = |text: Option<String>| text.filter(|text| !text.is_empty());
        match (
            named(page.metadata.continue_),
            named(page.metadata.resource_version),
        ) {
            (Some(token), _) => Ok(Position::Paging(Some(token))),
            (None, Some(version)) => {
                self.pending.push_back(Event::InitDone);
                Ok(Position::At(version))
            }
            (None, None) => Err(Error::NoResourceVersion),
        }
    }

    async fn change(&mut self, version: String, mut changes: Changes<K>) -> Result<Position<K>, Error> {
        let Ok(next) = next_change(&mut changes).await else {
            return Ok(Position::At(version));
        };
        if next.is_none() && self.is_new {
            // The API server sends a bookmark before it ends a watch. To open it again at once would flood it.
            self.position = Position::At(version);
            let ended = io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the watch ended before anything came",
            );
            return Err(Error::WatchFailed(kube::Error::Service(ended.into())));
        }
        self.is_new = false;
        if matches!(
            next,
            None | Some(Ok(WatchEvent::Added(_)
                | WatchEvent::Modified(_)
                | WatchEvent::Deleted(_)
                | WatchEvent::Bookmark(_)))
        ) {
            (self.told)(Life::Seen);
        }
        let event = match next {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => Event::Apply(object),
            Some(Ok(WatchEvent::Deleted(object))) => Event::Delete(object),
            Some(Ok(WatchEvent::Bookmark(mark))) => {
                return Ok(Position::Open(mark.metadata.resource_version, changes));
            }
            Some(Ok(WatchEvent::Error(status))) => {
                if status.code != 410 {
                    self.position = Position::At(version);
                }
                return Err(Error::WatchError(status.boxed()));
            }
            Some(Err(error)) => {
                if !is_gone(&error) {
                    self.position = Position::Open(version, changes);
                }
                return Err(Error::WatchFailed(error));
            }
            None => return Ok(Position::At(version)),
        };
        let (Event::Apply(object) | Event::Delete(object)) = &event else {
            return Ok(Position::Open(version, changes));
        };
        let version = object.resource_version().filter(|version| !version.is_empty());
        let version = version.ok_or(Error::NoResourceVersion)?;
        self.pending.push_back(event);
        Ok(Position::Open(version, changes))
    }

    async fn open(&mut self, version: &str, with_list: bool) -> kube::Result<Changes<K>> {
        let mut params = WatchParams::default().timeout(LASTS_SECONDS);
        params.send_initial_events = with_list;
        let changes = within(self.api.watch(&params, version)).await?;
        (self.told)(Life::Opened);
        self.is_new = true;
        Ok(changes.boxed())
    }
}

/// Waits for a list or a watch to open, but not for ever.
async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    tokio::time::timeout(api_call::DEADLINE, call)
        .await
        .unwrap_or_else(|_| Err(kube::Error::Service(Box::new(ApiError::Silent))))
}

/// The next change, or the end; an error for a watch that is silent for too long.
async fn next_change<K>(changes: &mut Changes<K>) -> Result<Option<kube::Result<WatchEvent<K>>>, Elapsed> {
    tokio::time::timeout(SILENCE, changes.next()).await
}

/// The API server has the streaming of lists switched off, or does not know it.
fn streams_no_lists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if matches!(status.code, 400 | 422) && status.message.contains("sendInitialEvents"))
}

/// The version is too old to go on from.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}
