//! Answers of a decision point elsewhere: whatever it says, a question that it doesn't permit isn't permitted, and
//! nothing panics. What comes in is the answer to one question and to several.
#![no_main]

use std::sync::Arc;

use fuzz_requests::{Stores, block_on};
use libfuzzer_sys::fuzz_target;
use platform_storage::decision::{Question, Resource};
use platform_storage::{Ask, Caller, DecisionPoint, RemoteDecisionPoint};

struct Says(Vec<u8>);

#[async_trait::async_trait]
impl Ask for Says {
    async fn ask(&self, _: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(self.0.clone())
    }
}

fuzz_target!(|data: &[u8]| {
    let clock = Stores::new().clock;
    let point = RemoteDecisionPoint::new(Arc::new(Says(data.to_vec())), clock);
    let resource = |number: u128| Resource {
        party: Some("1".to_owned()),
        instance: Some(uuid::Uuid::from_u128(number)),
        ..Resource::app("ttd", "a", None)
    };
    let questions = [
        Question::new("read", resource(1)),
        Question::new("write", resource(1)),
        Question::new("read", resource(2)),
        Question::new("instantiate", Resource::app("ttd", "a", Some("1"))),
    ];
    let says_permit = data.windows(6).any(|window| window == b"Permit");
    // JSON can write the word in escapes.
    let may_permit = says_permit || data.contains(&b'\\');
    block_on(async {
        for asked in [&questions[..3], &questions[3..]] {
            if let Ok(answers) = point.permits_each(&Caller::default(), asked).await {
                assert_eq!(answers.len(), asked.len());
                assert!(may_permit || !answers.contains(&true));
            }
        }
    });
});
