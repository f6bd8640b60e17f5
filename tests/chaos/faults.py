"""The faults, by name; each acts on the world and returns when it is over, or has begun to heal."""

import signal
import time
from contextlib import suppress

from redis import RedisError

HEALER_MOMENTS = ("after take over", "before note", "after write", "before end", "after end")
AIMED = ("after commit", "before mirror", "after flush", "before end")


def _pick(world):
    return world.random.choice(sorted(world.replicas))


def retire(process):
    """SIGTERM a replica and require a clean end; one that has only just been started may end by the signal."""
    process.signal(signal.SIGTERM)
    code = process.await_end()
    assert code in {0, -signal.SIGTERM, -signal.SIGKILL}, process.tail(f"exit code {code}")


def kill_replica(world):
    """SIGKILL one replica; it restarts under its own name."""
    world.replicas[_pick(world)].signal(signal.SIGKILL)


def kill_aimed(world):
    """Replace a replica by one that kills itself at a named moment, most often between commit and mirror write."""
    name = _pick(world)
    moment = world.random.choice(AIMED)
    retire(world.replicas[name])
    world.start_replica(name, moment)


def kill_for_good(world):
    """SIGKILL one replica and let the others take over; it comes back after a while under its name."""
    name = _pick(world)
    process = world.replicas.pop(name)
    process.signal(signal.SIGKILL)
    process.await_end()
    time.sleep(12)  # a fault's own length: longer than the session
    world.start_replica(name)


def freeze_replica(world):
    """SIGSTOP one replica beyond session and transaction timeout, then SIGCONT: a zombie."""
    process = world.replicas[_pick(world)]
    process.signal(signal.SIGSTOP)
    time.sleep(14)
    process.signal(signal.SIGCONT)


def stop_replica(world):
    """SIGTERM one replica; it ends cleanly and comes back."""
    name = _pick(world)
    retire(world.replicas[name])
    world.start_replica(name)


def burst_of_replicas(world):
    """Add three replicas at once, and take them away again."""
    names = [f"guest{number}" for number in range(3)]
    for name in names:
        world.start_replica(name)
    time.sleep(world.random.uniform(1, 5))
    for name in names:
        retire(world.replicas.pop(name))


def kill_index(world):
    """SIGKILL the contact index; it restarts."""
    world.index.signal(signal.SIGKILL)


def kill_healer(world):
    """SIGKILL the healer, or replace it by one that kills itself at a named moment; it restarts."""
    if world.random.random() < 0.5:
        world.healer.signal(signal.SIGKILL)
        return
    retire(world.healer)
    world.start_healer(world.random.choice(HEALER_MOMENTS))


def freeze_healer(world):
    """SIGSTOP the healer beyond session and transaction timeout, while another takes over, then SIGCONT: a zombie."""
    zombie = world.healer
    zombie.signal(signal.SIGSTOP)
    world.start_healer()
    time.sleep(14)
    zombie.signal(signal.SIGCONT)
    retire(zombie)


def redis_restarted_empty(world):
    """SIGKILL Redis; it comes back with nothing."""
    world.redis.lose(world.random.uniform(0, 2))


def redis_flushed(world):
    """FLUSHALL."""
    with world.redis.asked() as clients:
        for client in clients:
            client.flushall()


def index_flushed(world):
    """Remove the contact index alone."""
    with world.redis.asked() as clients:
        for client in clients:
            for key in client.scan_iter("order-facts:contacts:*"):
                client.unlink(key)


def redis_rolled_back(world):
    """Put everything back to a copy of some seconds ago."""
    with world.redis.asked() as clients:
        copies = [(client, key, client.dump(key)) for client in clients for key in client.scan_iter("*")]
        time.sleep(world.random.uniform(1, 4))
        for client, key, copy in copies:
            if copy is not None:
                client.restore(key, 0, copy, replace=True)


def redis_out_of_memory(world):
    """Let maxmemory be reached under noeviction for a while."""
    with world.redis.asked() as clients:
        for client in clients:
            client.config_set("maxmemory", "1mb")
        time.sleep(4)
        for client in clients:
            client.config_set("maxmemory", "0")


def redis_frozen(world):
    """Stop all of Redis that has data for 15 s."""
    for server in world.redis.servers():
        server.pause()
    time.sleep(15)
    for server in world.redis.servers():
        server.resume()


def redis_slow(world):
    """Have Redis answer slowly for some seconds."""
    until = time.monotonic() + 6
    with world.redis.asked() as clients:
        while time.monotonic() < until:
            for client in clients:
                with suppress(RedisError):
                    client.execute_command("CLIENT", "PAUSE", "300", "ALL")
            time.sleep(0.35)


def broker_restarted(world):
    """SIGKILL the broker, start it again."""
    world.kafka.kill()
    time.sleep(world.random.uniform(0, 2))
    world.kafka.start()


def broker_frozen(world):
    """Stop the broker for 20 s."""
    world.kafka.pause()
    time.sleep(20)
    world.kafka.resume()


def brokers_restarted_in_turn(world):
    """SIGKILL one broker of several after the other; each is in sync again before the next is hit."""
    for broker in world.random.sample(world.kafka.brokers, len(world.kafka.brokers)):
        broker.kill()
        time.sleep(world.random.uniform(0, 5))
        broker.start()
        world.kafka.await_in_sync()
        settle(world)


def one_broker_frozen(world):
    """Stop one broker of several for 20 s."""
    broker = world.random.choice(world.kafka.brokers)
    broker.pause()
    time.sleep(20)
    broker.resume()
    world.kafka.await_in_sync()


SHORT = (
    kill_replica,
    kill_aimed,
    kill_aimed,
    stop_replica,
    burst_of_replicas,
    redis_restarted_empty,
    redis_flushed,
    index_flushed,
    redis_rolled_back,
    redis_out_of_memory,
    redis_slow,
    broker_restarted,
    kill_index,
    kill_healer,
)
LONG = (*SHORT, freeze_replica, freeze_healer, kill_for_good, redis_frozen, broker_frozen)
# Of three brokers one at a time is hit, so that the two others must go on; and they are hit often.
CLUSTER = (
    *(kind for kind in LONG if kind not in {broker_restarted, broker_frozen}),
    *2 * (brokers_restarted_in_turn, one_broker_frozen),
)


def settle(world):
    """Have everything alive again after a fault."""
    world.keep_up()
    world.redis.await_ready()
