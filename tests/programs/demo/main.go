// Command demo is a small order service with three faults, made to be looked at:
//
//   - the channel of orders is full, since the one goroutine that packs them is slow;
//   - every price that comes too late leaves a goroutine behind, blocked for ever on a channel that
//     nobody else has (a leak, bounded by -leaks);
//   - stock, payment and courier of one shipment each wait for the next one: a deadlock.
//
// The rest of the service lives: orders are placed and packed, a heart beats, and HTTP is served,
// pprof included. GET /truth says in one line of JSON which goroutines and channels are at fault.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"sync"
	"time"

	"gotrace.test/programs/internal/program"
)

// order is what the service is about.
type order struct {
	ID       int
	Customer string
	Items    []item
}

type item struct {
	SKU      string
	Quantity int
}

// truth is what gotrace has to find out. Channels are kept as text, since a reference from here
// would make them reachable.
type truth struct {
	mu          sync.Mutex
	Deadlocked  []deadlocked `json:"deadlocked"`
	Leaked      []uint64     `json:"leaked"`
	FullChannel channelFacts `json:"full_channel"`
	Blocked     uint64       `json:"blocked_on_full_channel"`
}

type deadlocked struct {
	Role        string `json:"role"`
	Goid        uint64 `json:"goid"`
	ReceivesOn  string `json:"receives_on"`
	WouldSendOn string `json:"would_send_on"`
}

type channelFacts struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Cap     int    `json:"cap"`
}

func (t *truth) update(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}

func (t *truth) ServeHTTP(answer http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = json.NewEncoder(answer).Encode(t)
}

func main() {
	leaks := flag.Int("leaks", 20, "goroutines that leak at most")
	leakEvery := flag.Duration("leak-every", time.Second, "time between two leaks")
	packing := flag.Duration("packing", 200*time.Millisecond, "time that one order takes to pack")
	flag.Parse()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	known := &truth{Deadlocked: []deadlocked{}, Leaked: []uint64{}}
	http.Handle("/truth", known)

	orders := make(chan order, 8)
	known.update(func() {
		known.FullChannel = channelFacts{program.Address(orders), "main.order", cap(orders)}
	})
	go placeOrders(orders, known)
	go packOrders(orders, *packing)
	go quotePrices(*leaks, *leakEvery, known)
	ship(known)
	go heartbeat(time.Tick(100 * time.Millisecond))

	go awaitFaults(known, orders, listener)
	err = http.Serve(listener, nil)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// awaitFaults says READY once the shipment hangs and the channel of orders is full.
func awaitFaults(known *truth, orders chan order, listener net.Listener) {
	watcher := program.NewWatcher(1 << 20)
	waits := func(party string) bool { return watcher.Waiting("chan receive", party) == 1 }
	for len(orders) != cap(orders) || !waits("main.reserveStock(") ||
		!waits("main.chargeCard(") || !waits("main.bookCourier(") {
		time.Sleep(time.Millisecond)
	}
	program.Ready(map[string]any{"http": listener.Addr().String()})
}

// placeOrders is the fast producer.
func placeOrders(orders chan<- order, known *truth) {
	goid := program.Goid()
	known.update(func() { known.Blocked = goid })
	customers := []string{"Ada", "Grace", "Barbara"}
	for id := 1; ; id++ {
		orders <- order{
			ID:       id,
			Customer: customers[id%len(customers)],
			Items:    []item{{SKU: fmt.Sprintf("SKU-%04d", id%100), Quantity: 1 + id%3}},
		}
	}
}

// packOrders is the slow consumer.
func packOrders(orders <-chan order, each time.Duration) {
	packed := 0
	for o := range orders {
		for range o.Items {
			time.Sleep(each)
			packed++
		}
	}
}

// errLate is what a customer hears when a price takes too long.
var errLate = errors.New("no price in time")

// quotePrices asks for prices that come too late.
func quotePrices(leaks int, every time.Duration, known *truth) {
	for i := 0; i < leaks; i++ {
		_, _ = quote(i, known)
		time.Sleep(every)
	}
	for ; ; time.Sleep(time.Second) {
	}
}

// quote leaks: the result channel has no buffer, and after the timeout nobody receives from it.
func quote(sku int, known *truth) (int, error) {
	result := make(chan int)
	go fetchPrice(sku, result, known)
	select {
	case price := <-result:
		return price, nil
	case <-time.After(time.Millisecond):
		return 0, errLate
	}
}

func fetchPrice(sku int, result chan<- int, known *truth) {
	time.Sleep(20 * time.Millisecond)
	goid := program.Goid()
	known.update(func() { known.Leaked = append(known.Leaked, goid) })
	result <- 100 + sku
}

// ship starts the three parties of a shipment and forgets them. Each first waits for the one whose
// word it needs, and so none ever speaks.
func ship(known *truth) {
	reserved, paid, booked := make(chan string), make(chan string), make(chan string)
	go reserveStock(paid, reserved, known)
	go chargeCard(booked, paid, known)
	go bookCourier(reserved, booked, known)
}

func reserveStock(paid, reserved chan string, known *truth) {
	known.party("stock", paid, reserved)
	receipt := <-paid
	reserved <- "reserved after " + receipt
}

func chargeCard(booked, paid chan string, known *truth) {
	known.party("payment", booked, paid)
	parcel := <-booked
	paid <- "paid after " + parcel
}

func bookCourier(reserved, booked chan string, known *truth) {
	known.party("courier", reserved, booked)
	goods := <-reserved
	booked <- "booked after " + goods
}

// party notes which channels a goroutine of a shipment is about to use.
func (t *truth) party(role string, receives, sends chan string) {
	goid := program.Goid()
	t.update(func() {
		t.Deadlocked = append(t.Deadlocked, deadlocked{
			Role:        role,
			Goid:        goid,
			ReceivesOn:  program.Address(receives),
			WouldSendOn: program.Address(sends),
		})
	})
}

// heartbeat is a goroutine that is well.
func heartbeat(beats <-chan time.Time) {
	for range beats {
	}
}
