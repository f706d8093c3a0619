//! The reasons of the `Ready` condition: stable API, one table for every reader.

/// How a situation stands for those who wait on it (kstatus, Argo CD, `kubectl wait`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// `Ready=True`.
    Done,
    /// `Ready=False`: it waits for someone or something and is at rest.
    Waiting,
    /// `Ready=False`, `Reconciling=True`.
    Progressing,
    /// `Ready=False`, `Stalled=True`: a person must act.
    Stalled,
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident => $standing:ident,)+) => {
        /// Why an object is or is not ready.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])+ $name,)+
        }

        impl Reason {
            /// All reasons, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word in the condition.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// How it stands.
            pub fn standing(self) -> Standing {
                match self {
                    $(Self::$name => Standing::$standing,)+
                }
            }
        }
    };
}

reasons! {
    /// No approval, or one that names another quote: preview.
    AwaitingApproval => Waiting,
    /// The price is over the approved ceiling, or in another currency.
    QuoteExceedsCeiling => Waiting,
    /// `approval.validUntil` has passed.
    ApprovalExpired => Waiting,
    /// HostUp would refuse; read again at intervals.
    GatesClosed => Waiting,
    /// `spec.suspend` is true.
    Suspended => Waiting,
    /// The annotation `vps.hostup.se/hold` holds purchases.
    Held => Waiting,
    /// The operator runs with `--read-only`.
    ReadOnly => Waiting,
    /// `--max-paid-calls` of the last 24 hours are used up.
    PaidCallCap => Waiting,
    /// A `VpsBudget` of the namespace leaves less than the order needs.
    BudgetExceeded => Waiting,
    /// The Secret or its key is missing, or hidden by RBAC.
    CredentialsMissing => Progressing,
    /// HostUp does not answer, or not usefully.
    ProviderUnavailable => Progressing,
    /// HostUp asked to wait.
    RateLimited => Progressing,
    /// The watch of the records shows no life, and nothing is bought without it.
    LedgerUnavailable => Progressing,
    /// The paid call is on its way.
    Submitting => Progressing,
    /// HostUp works on it.
    JobRunning => Progressing,
    /// The answer was lost; the VM is looked for.
    ConfirmingOutcome => Progressing,
    /// The VM exists and is not running yet.
    Booting => Progressing,
    /// HostUp took the change; its options do not show it yet.
    Converging => Progressing,
    /// HostUp took the change and waits for its invoice to be paid.
    AwaitingPayment => Progressing,
    /// The backup has been restored to the VM in `status.vm`.
    Restored => Done,
    /// An earlier object of this name and content has done it; nothing was bought again.
    AlreadyExecuted => Done,
    /// The VPS has the options of the spec.
    InSync => Done,
    /// The VPS had the options of the spec, and no longer has them; `driftPolicy` is `Report`, or it is
    /// looked once more.
    Drifted => Waiting,
    /// It is not known whether HostUp executed the call; a person decides.
    OutcomeUnknown => Stalled,
    /// HostUp's job failed.
    JobFailed => Stalled,
    /// HostUp's job failed and left a VM that costs money.
    VpsLeftBilling => Stalled,
    /// HostUp refused the order. It is sent again once something that HostUp judges has changed.
    Rejected => Stalled,
    /// A person gave the operation up.
    Abandoned => Stalled,
    /// The spec cannot be understood.
    InvalidSpec => Stalled,
    /// The key does not read the source VPS.
    VpsNotFound => Stalled,
    /// Several VPSs have the name of the spec.
    VpsNameAmbiguous => Stalled,
    /// The backup is gone, or not complete.
    BackupNotFound => Stalled,
    /// HostUp refuses the key, or a scope is missing.
    Unauthorized => Stalled,
    /// An earlier object of this name, with other contents, has a record.
    NameReused => Stalled,
    /// The record that the status names is gone.
    LedgerMissing => Stalled,
    /// The API server refuses what the operator must do: a policy, a quota or a missing right is in the way.
    ClusterRefuses => Stalled,
    /// The key no longer belongs to the account of the record.
    AccountMismatch => Stalled,
    /// An older object is responsible for the options of this VPS.
    TargetConflict => Stalled,
    /// The options were corrected once from these values, and have them again.
    DriftContested => Stalled,
    /// This VPS has no options that can be changed this way.
    NotConfigurable => Stalled,
    /// HostUp does not offer an option of the spec, or not with that value.
    UnknownOption => Stalled,
    /// HostUp took the change, and its options do not show it; a person decides.
    NotConverged => Stalled,
    /// The VM has another size than the one ordered.
    WrongSize => Stalled,
    /// The record belongs to another installation of the operator.
    OtherInstance => Stalled,
    /// The job did not end by `--job-deadline`.
    JobDeadlineExceeded => Stalled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_done_is_ready() {
        let done: Vec<_> = Reason::ALL
            .iter()
            .filter(|r| r.standing() == Standing::Done)
            .collect();
        assert_eq!(
            done,
            [&Reason::Restored, &Reason::AlreadyExecuted, &Reason::InSync]
        );
    }

    #[test]
    fn every_reason_is_a_word_that_kubernetes_takes() {
        for reason in Reason::ALL {
            assert!(reason.as_str().chars().all(char::is_alphanumeric), "{reason:?}");
        }
    }
}
