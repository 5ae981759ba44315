//! What a container takes and may take, as the headers `x-ms-resource-usage` and `x-ms-resource-quota` say it.
//!
//! Sources: the examples of both headers in "Get a Collection" and "Tuning query performance with Azure Cosmos
//! DB"; the clients for .NET and Java, which read both together, name by name at the same place, so both name
//! the same in the same order. Sizes are in KB. `documentSize`, of which no page says what it means, is left away.

use crate::limits::{STORED_PROCEDURES_MAX, TRIGGERS_MAX, USER_DEFINED_FUNCTIONS_MAX};

/// Without a bound.
const UNBOUNDED: i64 = -1;

/// What a container has. What isn't known isn't named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ResourceUsage {
    pub(crate) functions: u64,
    pub(crate) stored_procedures: u64,
    pub(crate) triggers: u64,
    pub(crate) documents: Option<u64>,
    /// Of the documents' texts, system properties included.
    pub(crate) documents_bytes: Option<u64>,
    /// Of keys and values of all that the container consists of, its indexes included, as the engine is given
    /// them: before it compresses.
    pub(crate) container_bytes: Option<u64>,
}

impl ResourceUsage {
    fn named(&self) -> impl Iterator<Item = (&'static str, u64, i64)> {
        let bound = |most: usize| i64::try_from(most).unwrap_or(i64::MAX);
        let figures = [
            (
                "functions",
                Some(self.functions),
                bound(USER_DEFINED_FUNCTIONS_MAX),
            ),
            (
                "storedProcedures",
                Some(self.stored_procedures),
                bound(STORED_PROCEDURES_MAX),
            ),
            ("triggers", Some(self.triggers), bound(TRIGGERS_MAX)),
            ("documentsCount", self.documents, UNBOUNDED),
            ("documentsSize", self.documents_bytes.map(kilobytes), UNBOUNDED),
            ("collectionSize", self.container_bytes.map(kilobytes), UNBOUNDED),
        ];
        figures
            .into_iter()
            .filter_map(|(name, usage, quota)| Some((name, usage?, quota)))
    }

    /// `x-ms-resource-usage`.
    pub(crate) fn usage(&self) -> String {
        self.named()
            .map(|(name, usage, _)| format!("{name}={usage};"))
            .collect()
    }

    /// `x-ms-resource-quota`.
    pub(crate) fn quota(&self) -> String {
        self.named()
            .map(|(name, _, quota)| format!("{name}={quota};"))
            .collect()
    }
}

/// Begun ones count.
fn kilobytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_name_the_same_in_the_same_order() {
        let all = ResourceUsage {
            functions: 1,
            stored_procedures: 2,
            triggers: 3,
            documents: Some(4),
            documents_bytes: Some(1_025),
            container_bytes: Some(3_000),
        };
        assert_eq!(
            all.usage(),
            "functions=1;storedProcedures=2;triggers=3;documentsCount=4;documentsSize=2;collectionSize=3;"
        );
        assert_eq!(
            all.quota(),
            "functions=50;storedProcedures=100;triggers=25;documentsCount=-1;documentsSize=-1;collectionSize=-1;"
        );
        let some = ResourceUsage {
            documents_bytes: None,
            container_bytes: None,
            ..all
        };
        for text in [some.usage(), some.quota()] {
            let names: Vec<&str> = text
                .split(';')
                .filter_map(|pair| pair.split('=').next())
                .collect();
            assert_eq!(
                names,
                ["functions", "storedProcedures", "triggers", "documentsCount", ""]
            );
        }
    }
}
