package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

// The store's file format, version 2: a page is a header (id u64, flags u16, count u16, overflow u32) and elements.
const (
	pageHeader  = 16
	elementSize = 16 // branch: pos, ksize u32, child u64; leaf: flags, pos, ksize, vsize u32
	branchPage  = 0x01
	leafPage    = 0x02
	bucketFlag  = 0x01 // of a leaf element: the value is a bucket, beginning with its root page u64, 0 when it is inline
)

// examineTree follows every bucket from its root, once: the store itself would go round for ever, eating memory, in a tree
// whose damaged pointer leads back to its own ancestor.
func examineTree(tx *bolt.Tx, path string, pageSize int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := &treeWalk{file: f, pageSize: pageSize, pages: uint64(tx.Size() / pageSize), seen: make(map[uint64]bool)}
	w.todo = append(w.todo, uint64(tx.Cursor().Bucket().Root()))
	for len(w.todo) > 0 {
		id := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		if err := w.page(id); err != nil {
			return fmt.Errorf("%w: page %d: %w", errDamaged, id, err)
		}
	}
	return nil
}

// treeWalk visits pages; each goes onto todo at most as often as it is referred to, and a second visit is an error.
type treeWalk struct {
	file     io.ReaderAt
	pageSize int64
	pages    uint64
	seen     map[uint64]bool
	todo     []uint64
}

func (w *treeWalk) page(id uint64) error {
	if id >= w.pages || w.seen[id] {
		return errors.New("is referred to twice, or lies behind the end")
	}
	w.seen[id] = true
	head := make([]byte, pageHeader)
	if _, err := w.file.ReadAt(head, int64(id)*w.pageSize); err != nil {
		return err
	}
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	if overflow >= w.pages-id {
		return errors.New("is longer than the file")
	}
	b := make([]byte, (int64(overflow)+1)*w.pageSize)
	if _, err := w.file.ReadAt(b, int64(id)*w.pageSize); err != nil {
		return err
	}
	count := int(binary.NativeEndian.Uint16(head[10:]))
	if pageHeader+count*elementSize > len(b) {
		return errors.New("has more elements than fit")
	}
	for i := range count {
		at := pageHeader + i*elementSize
		switch e := b[at:]; binary.NativeEndian.Uint16(head[8:]) {
		case branchPage:
			w.todo = append(w.todo, binary.NativeEndian.Uint64(e[8:]))
		case leafPage:
			if binary.NativeEndian.Uint32(e)&bucketFlag == 0 {
				continue
			}
			value := uint64(at) + uint64(binary.NativeEndian.Uint32(e[4:])) + uint64(binary.NativeEndian.Uint32(e[8:]))
			if value+8 > uint64(len(b)) {
				return errors.New("has a bucket behind its end")
			}
			if root := binary.NativeEndian.Uint64(b[value:]); root != 0 {
				w.todo = append(w.todo, root)
			}
		default:
			return errors.New("is no page of a tree")
		}
	}
	return nil
}
