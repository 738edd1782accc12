// main.go - the rows of tests/bench/sched_bench.cc by goroutines; a server that echoes; random reads, a goroutine for each in flight.
//
//	goroutines --only ROW ...                            as tests/bench/peers/peer.h says
//	goroutines echo [--workers N]                        prints its port, and serves until it is killed
//	goroutines read --file F --depth N --seconds S       prints IOPS and processor seconds as one JSON object
package main

import (
	"bufio"
	"fmt"
	"math/rand"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	ringSize = 503
	counters = 16
)

func expect(holds bool, what string) {
	if !holds {
		fmt.Fprintln(os.Stderr, "wrong result:", what)
		os.Exit(1)
	}
}

func secondsOf(work func()) float64 {
	start := time.Now()
	work()
	return time.Since(start).Seconds()
}

func each(total, parts int64) int64 {
	if total < parts {
		return 1
	}
	return total / parts
}

func yields(count, total int64) float64 {
	turns := each(total, count)
	return secondsOf(func() {
		var all sync.WaitGroup
		for g := int64(0); g < count; g++ {
			all.Add(1)
			go func() {
				for i := int64(0); i < turns; i++ {
					runtime.Gosched()
				}
				all.Done()
			}()
		}
		all.Wait()
	}) / float64(turns*count)
}

// A goroutine is joined by the channel that it closes or sends on.
func spawnJoin(count int64) float64 {
	return secondsOf(func() {
		done := make(chan struct{})
		for i := int64(0); i < count; i++ {
			go func() { done <- struct{}{} }()
			<-done
		}
	}) / float64(count)
}

func batch(count int64) float64 {
	return secondsOf(func() {
		var all sync.WaitGroup
		all.Add(int(count))
		for i := int64(0); i < count; i++ {
			go all.Done()
		}
		all.Wait()
	}) / float64(count)
}

func fibOf(n int) int64 {
	if n < 2 {
		return int64(n)
	}
	left := make(chan int64, 1)
	go func() { left <- fibOf(n - 1) }()
	right := fibOf(n - 2)
	return <-left + right
}

func fib(n int, result int64, forks float64) float64 {
	return secondsOf(func() { expect(fibOf(n) == result, "fib") }) / forks
}

func queensFrom(size, row int, columns [16]int8) int64 {
	if row == size {
		return 1
	}
	found := make(chan int64, size)
	children := 0
next:
	for column := 0; column < size; column++ {
		for above := 0; above < row; above++ {
			distance := int(columns[above]) - column
			if distance == 0 || distance == row-above || distance == above-row {
				continue next
			}
		}
		child := columns
		child[row] = int8(column)
		children++
		go func() { found <- queensFrom(size, row+1, child) }()
	}
	var sum int64
	for ; children > 0; children-- {
		sum += <-found
	}
	return sum
}

func nqueens(scale int64) float64 {
	size, solutions := 11, int64(2680)
	if scale > 1 {
		size, solutions = 6, 4
	}
	return secondsOf(func() { expect(queensFrom(size, 0, [16]int8{}) == solutions, "nqueens") })
}

func skynetOf(first, size int64) int64 {
	if size == 1 {
		return first
	}
	sums := make(chan int64, 10)
	for child := int64(0); child < 10; child++ {
		from := first + child*(size/10)
		go func() { sums <- skynetOf(from, size/10) }()
	}
	var sum int64
	for child := 0; child < 10; child++ {
		sum += <-sums
	}
	return sum
}

func skynet(scale int64) float64 {
	leaves := int64(1000000)
	if scale > 1 {
		leaves = 1000
	}
	return secondsOf(func() { expect(skynetOf(0, leaves) == leaves*(leaves-1)/2, "skynet") })
}

func channelTrips(count int64) float64 {
	there, back := make(chan int, 1), make(chan int, 1)
	sum := int64(0)
	seconds := secondsOf(func() {
		go func() {
			for i := int64(0); i < count; i++ {
				back <- <-there
			}
		}()
		for i := int64(0); i < count; i++ {
			there <- 1
			sum += int64(<-back)
		}
	})
	expect(sum == count, "channel")
	return seconds / float64(count)
}

// Go keeps the two together where it can; each on a thread of its own is what the row asks for.
func channelAcross(count int64) float64 {
	there, back := make(chan int, 1), make(chan int, 1)
	ended := make(chan struct{})
	seconds := secondsOf(func() {
		go func() {
			runtime.LockOSThread()
			for i := int64(0); i < count; i++ {
				back <- <-there
			}
			close(ended)
		}()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for i := int64(0); i < count; i++ {
			there <- 1
			<-back
		}
		<-ended
	})
	return seconds / float64(count)
}

func mutexFree(count int64) float64 {
	var mutex sync.Mutex
	return secondsOf(func() {
		for i := int64(0); i < count; i++ {
			mutex.Lock()
			mutex.Unlock()
		}
	}) / float64(count)
}

func mutexContended(count int64) float64 {
	var mutex sync.Mutex
	counted := int64(0)
	turns := each(count, counters)
	seconds := secondsOf(func() {
		var all sync.WaitGroup
		for g := 0; g < counters; g++ {
			all.Add(1)
			go func() {
				for i := int64(0); i < turns; i++ {
					mutex.Lock()
					counted++
					mutex.Unlock()
				}
				all.Done()
			}()
		}
		all.Wait()
	})
	expect(counted == turns*counters, "mutex_contended")
	return seconds / float64(counted)
}

func waits(count int64, deadline bool) float64 {
	turn, done := make(chan int, 1), make(chan int, 1)
	go func() {
		for i := int64(0); i < count; i++ {
			turn <- 1
			<-done
		}
	}()
	return secondsOf(func() {
		for i := int64(0); i < count; i++ {
			if deadline {
				timer := time.NewTimer(30 * time.Minute)
				select {
				case <-turn:
				case <-timer.C:
				}
				timer.Stop()
			} else {
				<-turn
			}
			done <- 1
		}
	}) / float64(count)
}

// What a deadline adds, among 1,000 goroutines that sleep until later ones.
func timerArmCancel(count int64) float64 {
	const sleepers = 1000
	wake := make(chan struct{})
	var asleep, all sync.WaitGroup
	asleep.Add(sleepers)
	all.Add(sleepers)
	for g := 0; g < sleepers; g++ {
		go func(hours int) {
			defer all.Done()
			timer := time.NewTimer(time.Duration(hours) * time.Hour)
			defer timer.Stop()
			asleep.Done()
			select {
			case <-wake:
			case <-timer.C:
			}
		}(1 + g)
	}
	asleep.Wait()
	without := waits(count, false)
	with := waits(count, true)
	close(wake)
	all.Wait()
	return with - without
}

func timerStorm(turns int64) float64 {
	const sleepers = 1000
	return secondsOf(func() {
		var all sync.WaitGroup
		for g := int64(0); g < sleepers; g++ {
			all.Add(1)
			go func(seed int64) {
				random := rand.New(rand.NewSource(seed))
				for i := int64(0); i < turns; i++ {
					time.Sleep(time.Duration(random.Int63n(100000)))
				}
				all.Done()
			}(g + 1)
		}
		all.Wait()
	}) / float64(sleepers*turns)
}

func threadRing(hops int64) float64 {
	return secondsOf(func() {
		var places [ringSize]chan struct{}
		for i := range places {
			places[i] = make(chan struct{}, 1)
		}
		var all sync.WaitGroup
		for g := int64(0); g < ringSize; g++ {
			all.Add(1)
			go func(mine int64) {
				for hop := mine; hop < hops; hop += ringSize {
					<-places[mine]
					places[(mine+1)%ringSize] <- struct{}{}
				}
				all.Done()
			}(g)
		}
		places[0] <- struct{}{}
		all.Wait()
	}) / float64(hops)
}

type row struct {
	name, unit string
	workers    int
	run        func(scale int64) float64
}

var rows = []row{
	{"yield_2", "ns", 1, func(s int64) float64 { return yields(2, 2000000/s) }},
	{"yield_1000", "ns", 1, func(s int64) float64 { return yields(1000, 2000000/s) }},
	{"spawn_join", "ns", 0, func(s int64) float64 { return spawnJoin(1000000 / s) }},
	{"batch_100k", "ns", 0, func(s int64) float64 { return batch(100000 / s) }},
	{"batch_1m", "ns", 0, func(s int64) float64 { return batch(1000000 / s) }},
	{"fib", "ns", 0, func(s int64) float64 {
		if s > 1 {
			return fib(12, 144, 232)
		}
		return fib(30, 832040, 1346268)
	}},
	{"fib_spawn", "ns", 0, func(s int64) float64 {
		if s > 1 {
			return fib(12, 144, 232)
		}
		return fib(22, 17711, 28656)
	}},
	{"nqueens", "ms", 0, nqueens},
	{"skynet_1m", "ms", 0, skynet},
	{"channel_same", "ns", 1, func(s int64) float64 { return channelTrips(500000 / s) }},
	{"channel_across", "ns", 2, func(s int64) float64 { return channelAcross(100000 / s) }},
	{"mutex_free", "ns", 0, func(s int64) float64 { return mutexFree(10000000 / s) }},
	{"mutex_contended", "ns", 0, func(s int64) float64 { return mutexContended(1600000 / s) }},
	{"timer_arm_cancel", "ns", 1, func(s int64) float64 { return timerArmCancel(1000000 / s) }},
	{"timer_storm", "ns", 0, func(s int64) float64 { return timerStorm(each(1000, s)) }},
	{"thread_ring", "ns", 0, func(s int64) float64 { return threadRing(1000000 / s) }},
}

func peakKb() int {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "VmHWM:" {
			kb, _ := strconv.Atoi(words[1])
			return kb
		}
	}
	return 0
}

func echo() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	expect(err == nil, "listen")
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			continue
		}
		go func() {
			defer connection.Close()
			bytes := make([]byte, 4096)
			for {
				got, err := connection.Read(bytes)
				if err != nil {
					return
				}
				if _, err := connection.Write(bytes[:got]); err != nil {
					return
				}
			}
		}()
	}
}

func randomReads(path string, depth int, seconds float64) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECT, 0)
	expect(err == nil, "open")
	status, err := file.Stat()
	expect(err == nil, "stat")
	var over int32
	var done int64
	var all sync.WaitGroup
	took := secondsOf(func() {
		for g := 0; g < depth; g++ {
			all.Add(1)
			go func(seed int64) {
				bytes := make([]byte, 8192)
				skip := 4096 - int(uintptr(unsafe.Pointer(&bytes[0]))%4096)
				random := rand.New(rand.NewSource(seed))
				mine := int64(0)
				for ; atomic.LoadInt32(&over) == 0; mine++ {
					_, err := file.ReadAt(bytes[skip:skip+4096], random.Int63n(status.Size()/4096)*4096)
					expect(err == nil, "read")
				}
				atomic.AddInt64(&done, mine)
				all.Done()
			}(int64(g + 1))
		}
		time.Sleep(time.Duration(seconds * 1e9))
		atomic.StoreInt32(&over, 1)
		all.Wait()
	})
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	cpu := float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
	fmt.Printf("{\"iops\":%.0f,\"cpu\":%.3f}\n", float64(done)/took, cpu/took)
}

func main() {
	options := map[string]string{"--rounds": "7", "--workers": "2", "--scale": "1"}
	words := os.Args[1:]
	what := ""
	if len(words) > 0 && !strings.HasPrefix(words[0], "--") {
		what, words = words[0], words[1:]
	}
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "--list":
			for _, r := range rows {
				fmt.Println(r.name)
			}
			return
		case "--json":
		default:
			if i+1 < len(words) {
				options[words[i]] = words[i+1]
				i++
			}
		}
	}
	number := func(name string) int { n, _ := strconv.Atoi(options[name]); return n }
	switch what {
	case "echo":
		runtime.GOMAXPROCS(number("--workers"))
		echo()
		return
	case "read":
		seconds, _ := strconv.ParseFloat(options["--seconds"], 64)
		randomReads(options["--file"], number("--depth"), seconds)
		return
	}
	for _, r := range rows {
		if options["--only"] != "" && options["--only"] != r.name {
			continue
		}
		workers := r.workers
		if workers == 0 {
			workers = number("--workers")
		}
		runtime.GOMAXPROCS(workers)
		per := 1e9
		if r.unit == "ms" {
			per = 1e3
		}
		r.run(int64(number("--scale")))
		took := []float64{}
		for i := 0; i < number("--rounds"); i++ {
			took = append(took, r.run(int64(number("--scale")))*per)
		}
		sort.Float64s(took)
		fmt.Printf("{\"row\":%q,\"unit\":%q,\"min\":%.3f,\"median\":%.3f,\"rounds\":%d,\"workers\":%d,\"peak_kb\":%d}\n",
			r.name, r.unit, took[0], took[len(took)/2], len(took), workers, peakKb())
	}
}
