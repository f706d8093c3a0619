//! A life without faults.

use serde_json::json;

use crate::support::{Stage, at, ready, reason};

#[tokio::test]
async fn an_approved_restore_is_bought_once_and_shows_the_vm() {
    let stage = Stage::new("life").await;
    let _operator = stage.operator(&[]);
    stage.create(stage.approved("web")).await;
    let object = stage.wait_for_reason("web", "Restored").await;
    assert_eq!(ready(&object)["status"], "True");
    assert_eq!(stage.executed(), 1);
    let bought = &stage.sim.purchases()[0];
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
    stage.check_invariants().await;
}

#[tokio::test]
async fn a_preview_shows_the_price_and_buys_only_with_the_quote_that_it_shows() {
    let stage = Stage::new("preview").await;
    let _operator = stage.operator(&[]);
    stage.create(stage.preview("web")).await;
    let object = stage.wait_for_reason("web", "AwaitingApproval").await;
    assert_eq!(stage.posts(), 0);
    let wrong = json!({"spec": {"approval": {"quoteId": "q-aaaaaaaaaa"}}});
    stage.patch("web", wrong).await.unwrap();
    let refused = stage
        .wait("web", "the wrong quote seen", |o| {
            at(o, "status.observedGeneration") == 2
        })
        .await;
    assert_eq!(reason(&refused), "AwaitingApproval");
    assert_eq!(stage.posts(), 0);
    stage.follow(&object, "To approve:").await;
    stage.wait_for_reason("web", "Restored").await;
    assert_eq!(stage.executed(), 1);
    stage.check_invariants().await;
}
