//! That purge protection is one-way: once on, a vault keeps it whatever its settings say later.

use ledger::{Ledger, LedgerError, Transaction};

use super::keys;
use crate::Settings;

/// Notes which vaults have purge protection, and turns it on for those that had it before. Answers their names.
///
/// # Errors
/// Those of the ledger.
pub async fn keep_protection(
    ledger: &dyn Ledger,
    settings: &mut Settings,
) -> Result<Vec<String>, LedgerError> {
    let snapshot = ledger.snapshot().await?;
    let mut tx = Transaction::new();
    let mut kept = Vec::new();
    for vault in &mut settings.vaults {
        let key = keys::protection(&vault.name);
        let had_it = snapshot.get(&key).await?.is_some();
        if had_it && !vault.recovery.purge_protection {
            vault.recovery.purge_protection = true;
            kept.push(vault.name.clone());
        }
        if !had_it && vault.recovery.purge_protection {
            tx.put(key, Vec::new());
        }
    }
    if !tx.is_empty() {
        ledger.commit(tx).await?;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ledger::SystemClock;
    use ledger::memory::MemoryLedger;

    use super::*;
    use crate::Vault;

    #[tokio::test]
    async fn once_on_it_stays_on() {
        let ledger = MemoryLedger::new(Arc::new(SystemClock));
        let settings = |protected: bool| {
            let mut vault = Vault::new("acme");
            vault.recovery.purge_protection = protected;
            Settings {
                vaults: vec![vault, Vault::new("other")],
                ..Settings::default()
            }
        };
        let found = async |protected| {
            let mut settings = settings(protected);
            let kept = keep_protection(&ledger, &mut settings).await.unwrap();
            let on: Vec<bool> = settings
                .vaults
                .iter()
                .map(|vault| vault.recovery.purge_protection)
                .collect();
            (kept.len(), on)
        };
        assert_eq!(found(false).await, (0, vec![false, false]));
        assert_eq!(found(true).await, (0, vec![true, false]));
        assert_eq!(found(false).await, (1, vec![true, false]));
    }
}
