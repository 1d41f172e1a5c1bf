//! Whose store it is.

use peerhold_core::NodeId;
use peerhold_store::vfs::{MemVfs, Vfs, VfsFile};
use peerhold_store::{OpenError, Store};

use crate::support::*;

const A: NodeId = NodeId([0xa1; 32]);
const B: NodeId = NodeId([0xb2; 32]);

#[test]
fn a_store_belongs_to_the_first_node_that_claims_it() {
    let vfs = MemVfs::new();
    let store = open(vfs.clone());
    assert_eq!(store.owner().unwrap(), None);
    store.claim(A).unwrap();
    store.claim(A).unwrap();
    drop(store);
    let store = open(vfs.clone());
    assert_eq!(store.owner().unwrap(), Some(A));
    let error = store.claim(B).unwrap_err();
    assert!(
        matches!(error, OpenError::Foreign { owner: A, node: B }),
        "{error}"
    );
    assert!(error.to_string().contains(&A.to_string()), "{error}");
    assert_eq!(store.owner().unwrap(), Some(A));
    let mut text = [0; 100];
    let count = vfs.open("OWNER").unwrap().read_at(&mut text, 0).unwrap();
    let expected = format!("peerhold store of {}\n", "a1".repeat(32));
    assert_eq!(&text[..count], expected.as_bytes());
}

#[test]
fn a_damaged_owner_is_neither_believed_nor_replaced() {
    let vfs = MemVfs::new();
    open(vfs.clone()).claim(A).unwrap();
    let mut good = vec![0; 83];
    vfs.open("OWNER").unwrap().read_at(&mut good, 0).unwrap();
    for at in [0, 17, 18, 81, 82] {
        let mut bad = good.clone();
        bad[at] = b'z';
        vfs.open("OWNER").unwrap().write_at(&bad, 0).unwrap();
        let store: Store<MemVfs> = open(vfs.clone());
        let error = store.claim(A).unwrap_err();
        assert!(
            matches!(error, OpenError::OwnerDamaged),
            "byte {at}: {error}"
        );
    }
    vfs.open("OWNER").unwrap().set_len(40).unwrap();
    assert!(matches!(
        open(vfs.clone()).owner(),
        Err(OpenError::OwnerDamaged)
    ));
}
