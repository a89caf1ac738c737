package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// maxID is the longest id that a record can have. Ours are UUIDs.
const maxID = 128

// A record is eight hexadecimal digits, a CRC-32C of bucket, id and JSON, and then the JSON: the store itself does not
// notice a bit that flips on the disk, and an address with a flipped bit is another customer's.
const sumLen = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(bucket, id, text []byte) string {
	sum := crc32.Update(0, castagnoli, bucket)
	sum = crc32.Update(sum, castagnoli, id)
	return fmt.Sprintf("%08x", crc32.Update(sum, castagnoli, text))
}

// pack makes a record of v.
func pack(bucket, id []byte, v any) ([]byte, error) {
	if len(id) == 0 || len(id) > maxID {
		return nil, fmt.Errorf("%q is not a usable id", id)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append([]byte(checksum(bucket, id, text)), text...), nil
}

// unpack reads a record into v.
func unpack(bucket, id, record []byte, v any) error {
	if len(record) < sumLen || checksum(bucket, id, record[sumLen:]) != string(record[:sumLen]) {
		return errors.New("wrong checksum")
	}
	return json.Unmarshal(record[sumLen:], v)
}
