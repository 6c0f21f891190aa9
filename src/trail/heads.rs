//! Reading for the comparison with an earlier export: single records and the ends of chains, by strongly consistent
//! reads. Compares nothing.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

use super::chains::Item;
use super::{Trail, fault};

/// DynamoDB takes at most so many keys in one batch.
pub const MOST_KEYS: usize = 100;
/// Keys that a throttled table left out are asked for again so often.
const MOST_ROUNDS: u32 = 8;

impl Trail {
    /// The stored hashes of single records, by consistent reads; what is absent is not there. At most
    /// [`MOST_KEYS`] at once, none twice.
    pub async fn hashes(&self, keys: &[(String, u64)]) -> anyhow::Result<HashMap<(String, u64), String>> {
        let mut found = HashMap::new();
        let key = |(pk, seq): &(String, u64)| {
            HashMap::from([
                ("pk".to_owned(), AttributeValue::S(pk.clone())),
                ("seq".to_owned(), AttributeValue::N(seq.to_string())),
            ])
        };
        let mut wanted = keys.iter().map(key).collect::<Vec<_>>();
        for _ in 0..MOST_ROUNDS {
            if wanted.is_empty() {
                return Ok(found);
            }
            let request = KeysAndAttributes::builder()
                .set_keys(Some(std::mem::take(&mut wanted)))
                .consistent_read(true)
                .projection_expression("#pk, #seq, #hash")
                .expression_attribute_names("#pk", "pk")
                .expression_attribute_names("#seq", "seq")
                .expression_attribute_names("#hash", "hash")
                .build()?;
            let answer = self
                .client()
                .await
                .batch_get_item()
                .request_items(&self.table, request)
                .send()
                .await
                .map_err(|error| fault::explained(&error, &self.table))?;
            for attributes in answer.responses.unwrap_or_default().into_values().flatten() {
                let Item { key, stored } = self.item(attributes)?;
                // A record without a hash is found by the check of its chain; here it is another than the kept one.
                let seq = stored.number().context("a key that nobody asked for")?;
                found.insert((key, seq), stored.hash.unwrap_or_default());
            }
            let left = answer.unprocessed_keys.unwrap_or_default();
            wanted = left.into_values().flat_map(|keys| keys.keys).collect();
        }
        ensure!(wanted.is_empty(), "table `{}` is too busy to answer", self.table);
        Ok(found)
    }

    /// The last number under `key` that the writer could have used; `None` if there is no record.
    pub async fn last_number(&self, key: &str) -> anyhow::Result<Option<u64>> {
        let mut last = None;
        self.chain(key, |stored| {
            last = stored.number().max(last);
            Ok(())
        })
        .await?;
        Ok(last)
    }
}
