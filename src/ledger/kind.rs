//! What the two kinds that buy have in common.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Books;
use crate::api::config::{VpsResourceConfig, VpsResourceConfigStatus};
use crate::api::restore::{VpsBackupRestore, VpsBackupRestoreStatus};
use crate::api::shared::{CredentialsSecretRef, OperationRef, QuoteStatus};
use crate::cluster::recent::Recent;
use crate::domain::values::ids::SubjectKind;

/// A kind whose objects buy.
pub trait PurchasingKind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Which of the kinds it is.
    const KIND: SubjectKind;
    /// Its status.
    type Status: Clone + Default + PartialEq + Serialize + Send + Sync;

    /// `spec.credentialsSecretRef`.
    fn credentials(&self) -> &CredentialsSecretRef;
    /// `spec.suspend`.
    fn is_suspended(&self) -> bool;
    /// Its status; an empty one where there is none yet.
    fn status(&self) -> Cow<'_, Self::Status>;
    /// Puts a status in place of its own.
    fn set_status(&mut self, status: Self::Status);
    /// The conditions of a status.
    fn conditions(status: &Self::Status) -> &[Condition];
    /// The record that a status names.
    fn operation(status: &Self::Status) -> Option<&OperationRef>;
    /// The refused attempt after which a status showed a closed gate.
    fn closed_after(status: &Self::Status) -> Option<&str>;
    /// The quote that a status shows.
    fn quote(status: &Self::Status) -> Option<&QuoteStatus>;
    /// The objects of the kind as they are known.
    fn recent(books: &Books) -> &Recent<Self>;
}

macro_rules! purchasing_kind {
    ($kind:ident, $status:ident, $recent:ident) => {
        impl PurchasingKind for $kind {
            const KIND: SubjectKind = SubjectKind::$kind;
            type Status = $status;

            fn credentials(&self) -> &CredentialsSecretRef {
                &self.spec.credentials_secret_ref
            }

            fn is_suspended(&self) -> bool {
                self.spec.suspend
            }

            fn status(&self) -> Cow<'_, $status> {
                self.status
                    .as_ref()
                    .map_or_else(Cow::default, Cow::Borrowed)
            }

            fn set_status(&mut self, status: $status) {
                self.status = Some(status);
            }

            fn conditions(status: &$status) -> &[Condition] {
                &status.conditions
            }

            fn operation(status: &$status) -> Option<&OperationRef> {
                status.operation.as_ref()
            }

            fn closed_after(status: &$status) -> Option<&str> {
                status.gates_closed_after.as_deref()
            }

            fn quote(status: &$status) -> Option<&QuoteStatus> {
                status.quote.as_ref()
            }

            fn recent(books: &Books) -> &Recent<$kind> {
                &books.$recent
            }
        }
    };
}

purchasing_kind!(VpsBackupRestore, VpsBackupRestoreStatus, restores);
purchasing_kind!(VpsResourceConfig, VpsResourceConfigStatus, configs);

/// Objects of one namespace.
pub fn objects<K: PurchasingKind>(books: &Books, namespace: &str) -> Api<K> {
    Api::namespaced(books.client.clone(), namespace)
}
