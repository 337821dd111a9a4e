//! Questions and answers as rows: sealed, since answers tell where customers are.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::apply::{Batch, sql};
use crate::lease;
use crate::vault::Vault;
use vpnkit_core::model::ServerId;
use vpnkit_core::store::{Origin, Question, QuestionId, QuestionOp, errors};
use vpnkit_core::{Result, Secret};

/// How long a question stands.
const KEPT_MS: i64 = 60_000;

impl Batch<'_> {
    pub(crate) fn question(&mut self, op: QuestionOp) -> Result<()> {
        match op {
            QuestionOp::Ask(question) => {
                forget_old(self.connection)?;
                let now = lease::now();
                let text = self.vault.seal(&place(&question.id), question.text.expose())?;
                let QuestionId { server, asker, number } = &question.id;
                self.run(
                    "INSERT INTO questions (server, asker, number, at, text) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![server.as_str(), asker.0, number.cast_signed(), now, text],
                )
            }
            QuestionOp::Answer(id, text) => {
                let text = self.vault.seal(&place(&id), text.expose())?;
                self.run(
                    "UPDATE questions SET answer = ?4 WHERE server = ?1 AND asker = ?2 AND number = ?3",
                    params![id.server.as_str(), id.asker.0, id.number.cast_signed(), text],
                )
            }
            QuestionOp::Forget(id) => self.run(
                "DELETE FROM questions WHERE server = ?1 AND asker = ?2 AND number = ?3",
                params![id.server.as_str(), id.asker.0, id.number.cast_signed()],
            ),
            _ => return Err(errors::unknown_step()),
        }
        .map(drop)
        .map_err(sql)
    }
}

/// Forgets what nobody waits for any more, and what is from before the machine was started again.
pub(crate) fn forget_old(connection: &Connection) -> Result<()> {
    let now = lease::now();
    connection
        .prepare_cached("DELETE FROM questions WHERE at < ?1 OR at > ?2")
        .and_then(|mut s| s.execute([now.saturating_sub(KEPT_MS), now]))
        .map(drop)
        .map_err(sql)
}

/// What the texts of a question are sealed for.
fn place(id: &QuestionId) -> String {
    format!("question:{}:{}:{}", id.server, id.asker.0, id.number)
}

pub(crate) fn open(connection: &Connection, vault: &Vault) -> Result<Vec<Question>> {
    let rows: Vec<(String, i64, i64, String)> = connection
        .prepare_cached("SELECT server, asker, number, text FROM questions WHERE answer IS NULL ORDER BY at")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?.collect())
        .map_err(sql)?;
    let mut questions = Vec::with_capacity(rows.len());
    for (server, asker, number, text) in rows {
        let Ok(server) = server.parse::<ServerId>() else { continue };
        let id = QuestionId { server, asker: Origin(asker), number: number.unsigned_abs() };
        // One that cannot be read is not answered.
        if let Ok(text) = vault.unseal(&place(&id), &text) {
            questions.push(Question { id, text: Secret::new(text.as_str()) });
        }
    }
    Ok(questions)
}

pub(crate) fn answer(connection: &Connection, vault: &Vault, id: &QuestionId) -> Result<Option<Secret>> {
    let text: Option<Option<String>> = connection
        .prepare_cached("SELECT answer FROM questions WHERE server = ?1 AND asker = ?2 AND number = ?3")
        .and_then(|mut s| {
            s.query_row(params![id.server.as_str(), id.asker.0, id.number.cast_signed()], |r| r.get(0))
                .optional()
        })
        .map_err(sql)?;
    let Some(Some(text)) = text else { return Ok(None) };
    vault.unseal(&place(id), &text).map(|text| Some(Secret::new(text.as_str())))
}
