//! The paid options of a VPS: a life without faults, and the special ways.

use hostup_sim::Route;
use serde_json::{Value, json};

use crate::support::{Stage, at, condition, ready};

fn bandwidth(gb: u32) -> Value {
    json!({"bandwidthGb": gb})
}

fn current(stage: &Stage, key: &str) -> String {
    stage.sim.world(|world| world.option(&stage.vps, key).to_string())
}

#[tokio::test]
async fn approved_options_are_ordered_once_and_read_back_with_four_writes() {
    let stage = Stage::new("options").await;
    let _operator = stage.operator(&[]);
    stage.create(stage.approved_config("web", bandwidth(4096))).await;
    let object = stage.config_comes_to("web", "InSync").await;
    assert_eq!(ready(&object)["status"], "True");
    assert_eq!(
        at(&object, "status.quote.summary"),
        "40.00 SEK now, 40.00 SEK/month"
    );
    assert_eq!(at(&object, "status.current.bandwidthGb"), "4096");
    assert_eq!(condition(&object, "Drifted")["status"], "False");
    assert_eq!(current(&stage, "bandwidthGb"), "4096");
    let record = at(&object, "status.operation.name").as_str().unwrap();
    assert_eq!(
        stage.writes().await,
        [
            "create vpsresourceconfigs/ web".to_owned(),
            format!("create vpsoperations/ {record}"),
            format!("update vpsoperations/status {record}"),
            format!("update vpsoperations/status {record}"),
            "update vpsresourceconfigs/status web".to_owned(),
        ]
    );
    assert_eq!((stage.executed(), stage.posts()), (1, 1));
    assert_eq!(stage.sim.count(Route::ConfigPreview), 1);
    stage.check_invariants().await;
}
