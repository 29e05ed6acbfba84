// Values of every kind, printed as the program itself sees them. It prints "ready", the address and
// the length of a slice of them, then one line for each: its type and its JSON by encoding/json, or,
// for what that cannot say, what gotrace is to say. Then it waits for the end of its input.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"runtime"
	"strings"
	"time"
	"unsafe"
)

type Job struct {
	ID    int
	Name  string
	Tags  []string
	Prio  float32
	Inner struct {
		A uint8
		B int16
	}
	Next  *Job
	Meta  map[string]int
	Any   interface{}
	Err   error
	Arr   [3]int32
	OK    bool
	Bytes []byte
	D     time.Duration
}
type ID uint64
type Empty struct{}
type Big struct {
	Pad [200]int8
	X   string
}
type One struct{ P *int }
type Pair struct {
	K [2]int
	V string
}

var samples []interface{}

// said is what gotrace is to say where encoding/json has no word.
var said = map[int]string{}

func raw(v interface{}, s string) {
	said[len(samples)] = s
	samples = append(samples, v)
}

// add adds values that encoding/json says as they are.
func add(v ...interface{}) { samples = append(samples, v...) }

func big(n int) map[string]int {
	m := map[string]int{}
	for i := 0; i < n; i++ {
		m[fmt.Sprint("k", i)] = i * i
	}
	return m
}
func del(n int) map[int]Big {
	m := map[int]Big{}
	for i := 0; i < n; i++ {
		m[i] = Big{X: fmt.Sprint(i)}
	}
	for i := 0; i < n; i++ {
		if i%5 != 0 {
			delete(m, i)
		}
	}
	return m
}

type node struct {
	V    int
	Next *node
}

//go:noinline
func named(int) string { return "" }

func main() {
	x := 42
	px := &x
	ppx := &px
	j := &Job{ID: -7, Name: "héllo", Tags: []string{"a", "", "c"}, Prio: 0.1, Meta: map[string]int{"z": 1, "a": 2}, Any: 3.5, Arr: [3]int32{-1, 2, 3}, OK: true, Bytes: []byte("raw text"), D: time.Second}
	j.Inner.A, j.Inner.B = 255, -300
	j.Next = &Job{ID: 2, Any: map[string]interface{}{"q": []int{1, 2}, "n": nil}}
	add(true, false, int(-5), int8(-8), int16(-1600), int32(math.MinInt32), int64(math.MinInt64), uint(5), uint8(200), uint16(65535), uint32(math.MaxUint32), uint64(math.MaxUint64), uintptr(99))
	add(float32(0.1), float32(3.4e38), 0.1, 1e300, -2.5, 0.0, 1e-7, 123456789.125)
	add("", "text", strings.Repeat("long ", 1000), "日本語")
	add(px, ppx, (*int)(nil), j, *j, []int{}, []int(nil), []int{1, 2, 3}, [4]bool{true, false}, [0]int{}, []Empty{{}, {}}, Empty{}, ID(9), []ID{1, 2})
	add(One{px}, [1]*int{px}, []interface{}{1, "a", nil, 2.5, []string{"x"}, j}, map[string]int(nil), map[string]int{}, map[string]int{"one": 1})
	add(big(8), big(9), big(100), big(5000), del(10), del(1000), map[int]string{-1: "m", 2: "t"}, map[uint8]*int{3: px}, map[string]map[string][]int{"a": {"b": {1}}})
	add(map[string]Big{"x": {X: "big"}}, map[string][]byte{}, map[ID]string{3: "id"}, []map[string]int{{"a": 1}}, [][]string{{"a"}, nil}, []*Job{j, nil}, []error{nil})
	add(struct {
		A interface{}
		B fmt.Stringer
	}{A: int8(3)})
	add([]int64{math.MaxInt64, math.MinInt64}, [2][2]string{{"a", "b"}, {"c", "d"}}, []bool{true, false, true}, []float64{1.5, -2}, []uint16{1, 2}, map[string]interface{}{"a": map[string]interface{}{"b": []interface{}{1, nil}}})
	add(&[]int{1}, &map[string]int{"p": 1}, &[3]string{"x"}, &struct{ S []Pair }{[]Pair{{[2]int{1, 2}, "v"}}})
	// What encoding/json cannot say.
	raw(math.NaN(), `"NaN"`)
	raw(math.Inf(-1), `"-Inf"`)
	raw(float32(math.Inf(1)), `"+Inf"`)
	raw(complex(1, -2), `"(1-2i)"`)
	raw(complex64(complex(0.5, 2)), `"(0.5+2i)"`)
	raw([]byte("bytes are text"), `"bytes are text"`)
	raw([5]byte{'h', 'e', 'l', 'l', 'o'}, `"hello"`)
	raw("bad \xff", `{"$escaped":"bad \\xff","$bytes":5}`)
	raw(named, `"main.named"`)
	raw((func())(nil), `null`)
	raw((chan int)(nil), `null`)
	ch := make(chan struct{}, 3)
	raw(ch, fmt.Sprintf(`"%p"`, ch))
	c := &node{V: 1}
	c.Next = c
	raw(c, fmt.Sprintf(`{"V":1,"Next":"%p"}`, c))
	raw(errors.New("boom"), `{"s":"boom"}`)
	raw(map[[2]int]string{{1, 2}: "x"}, `[{"key":[1,2],"value":"x"}]`)
	raw(map[bool]int{true: 1}, `[{"key":true,"value":1}]`)
	raw(map[interface{}]int{ID(4): 1}, `[{"key":4,"value":1}]`)
	raw(struct{ a, _, c int8 }{1, 2, 3}, `{"a":1,"c":3}`)
	raw(struct{ error }{errors.New("e")}, `{"error":{"s":"e"}}`)
	raw([]chan<- *Job{nil}, `[null]`)
	m := map[int]int{}
	for i := 0; i < 1000; i++ {
		m[i] = i
		for k := range m {
			if k < i-20 {
				delete(m, k)
			}
		}
	}
	add(m)
	fmt.Printf("ready %d %d\n", uintptr(unsafe.Pointer(&samples[0])), len(samples))
	for i, s := range samples {
		v := []byte(said[i])
		if len(v) == 0 {
			var err error
			if v, err = json.Marshal(s); err != nil {
				panic(err)
			}
			// Byte slices are base64 to encoding/json.
			v = []byte(strings.ReplaceAll(string(v), `"cmF3IHRleHQ="`, `"raw text"`))
		}
		t, _ := json.Marshal(reflect.TypeOf(s).String())
		fmt.Printf("{\"type\":%s,\"value\":%s}\n", t, v)
	}
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(samples)
}
