//! Pure rules of a key's life: what status it has, what is due, what an extension gives. No I/O, no clock.
//!
//! | file | rule |
//! |---|---|
//! | `status.rs` | [`judge`]: the status of a key at a time |
//! | `settle.rs` | [`settle`]: everything that is due; [`due_at`]: when there is something next; [`connect`]: the first bytes |
//! | `period.rs` | [`next_reset`]: when usage is set to nothing next, by the calendar of a time zone |
//! | `extend.rs` | [`extend`]: the five policies of renewal; [`undo`]: what is left without a grant |
//! | `merge.rs` | [`merge`]: what is left of one key is given to another |

mod extend;
mod merge;
mod period;
mod settle;
mod status;

pub use extend::{extend, extend_key, undo};
pub use merge::merge;
pub use period::next_reset;
pub use settle::{
    begin_next_plan, connect, due_at, end_old_links, ended_by_hand, first_reset, is_over, pause, reset_usage,
    resume, settle, stamp, start,
};
pub use status::judge;
