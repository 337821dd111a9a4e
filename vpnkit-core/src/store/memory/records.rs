//! Records in memory.

use super::State;
use crate::Result;
use crate::model::Record;
use crate::store::{Made, Receipt, RecordOp, consequence, errors};

impl State {
    pub(super) fn record_step(&mut self, op: RecordOp, receipt: &mut Receipt) -> Result<()> {
        let (RecordOp::Put { place, expected, .. } | RecordOp::Remove { place, expected }) = &op;
        let version = self.records.get(place).map_or(0, |record| record.version);
        if let Some(expected) = expected
            && *expected != version
        {
            return Err(errors::record(&place.0, &place.1, *expected, version));
        }
        if matches!(op, RecordOp::Remove { .. }) && version == 0 {
            return Ok(());
        }
        if Record::admin(&place.0, &place.1).is_none() {
            self.revision += 1;
        }
        if self.cause.is_some() {
            self.emit(consequence::of_settings(&place.0, &place.1), self.at);
        }
        match op {
            RecordOp::Put { place, index, body, .. } => {
                let (kind, id) = place.clone();
                receipt.made.push(Made { kind: kind.clone(), id: id.clone() });
                self.records.insert(place, Record { kind, id, version: version + 1, index, body });
            }
            RecordOp::Remove { place, .. } => drop(self.records.remove(&place)),
        }
        Ok(())
    }
}
