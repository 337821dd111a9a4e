//! Questions to the process that drives a server, and its answers. They are for the moment: a store may forget them after a minute.

use super::Origin;
use crate::Secret;
use crate::model::ServerId;

/// Which question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId {
    /// Whose driver is asked.
    pub server: ServerId,
    /// Who asks.
    pub asker: Origin,
    /// Of the asker.
    pub number: u64,
}

/// A question that was not answered yet.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which one.
    pub id: QuestionId,
    /// What is asked, as the engine writes it.
    pub text: Secret,
}
