//! What a process that runs scripts sends, in any pieces: frames are refused or are whole, a report that is
//! understood could have been written only so, and nothing is longer than its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scripts::{Bounds, Frames, Order, Report};

const BOUNDS: Bounds = Bounds {
    memory_bytes: 1,
    stack_bytes: 1,
    result_bytes: 1_000,
    log_bytes: 100,
};
const FRAME_BYTES_MAX: usize = 4 * 1024;

fuzz_target!(|data: &[u8]| {
    let Some((piece, data)) = data.split_first() else {
        return;
    };
    let mut frames = Frames::new(FRAME_BYTES_MAX);
    for bytes in data.chunks(usize::from(*piece) + 1) {
        frames.push(bytes);
        loop {
            match frames.take() {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(frame)) => look(&frame),
            }
        }
    }
});

fn look(frame: &[u8]) {
    assert!(frame.len() <= FRAME_BYTES_MAX);
    if let Ok(report) = Report::decode(frame, &BOUNDS) {
        assert_eq!(&report.encode()[4..], frame);
        if let Report::Ended { outcome, log, .. } = report {
            assert!(log.len() <= BOUNDS.log_bytes);
            let body = outcome.ok().and_then(|outcome| outcome.response_body);
            assert!(body.is_none_or(|body| body.len() <= BOUNDS.result_bytes));
        }
    }
    if let Ok(order) = Order::decode(frame) {
        assert_eq!(&order.encode()[4..], frame);
    }
}
