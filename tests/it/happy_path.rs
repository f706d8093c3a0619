//! A life without faults.

use serde_json::json;

use crate::support::{TestEnv, at, ready, reason};

#[tokio::test]
async fn an_approved_restore_is_bought_once_and_shows_the_vm() {
    let env = TestEnv::new("life").await;
    let _operator = env.operator(&[]);
    env.create(env.approved("web")).await;
    let object = env.wait_for_reason("web", "Restored").await;
    assert_eq!(ready(&object)["status"], "True");
    assert_eq!(env.executed(), 1);
    let bought = &env.sim.purchases()[0];
    assert_eq!(
        at(&object, "status.vm.vpsId"),
        bought.vps_id.as_ref().unwrap().as_str()
    );
    assert!(at(&object, "status.vm.primaryIp").is_string());
    assert_eq!(at(&object, "status.quote.summary"), "0.66 SEK/h");
    assert_eq!(
        at(&object, "status.observedGeneration"),
        &object["metadata"]["generation"]
    );
    env.check_invariants().await;
}

#[tokio::test]
async fn a_preview_shows_the_price_and_buys_only_with_the_quote_that_it_shows() {
    let env = TestEnv::new("preview").await;
    let _operator = env.operator(&[]);
    env.create(env.preview("web")).await;
    let object = env.wait_for_reason("web", "AwaitingApproval").await;
    assert_eq!(env.posts(), 0);
    let wrong = json!({"spec": {"approval": {"quoteId": "q-aaaaaaaaaa"}}});
    env.patch("web", wrong).await.unwrap();
    let refused = env
        .wait("web", "the wrong quote seen", |o| {
            at(o, "status.observedGeneration") == 2
        })
        .await;
    assert_eq!(reason(&refused), "AwaitingApproval");
    assert_eq!(env.posts(), 0);
    env.follow(&object, "To approve:").await;
    env.wait_for_reason("web", "Restored").await;
    assert_eq!(env.executed(), 1);
    env.check_invariants().await;
}
