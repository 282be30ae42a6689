"""Whether an idle client connection has gone to rest in the proxy."""
import os
import re

from harness.net import poll


def inode_of(client):
    """Of the socket at the proxy's end."""
    here, there = client.sock.getsockname()[1], client.sock.getpeername()[1]
    with open("/proc/net/tcp") as f:
        for line in f.readlines()[1:]:
            words = line.split()
            if int(words[1].split(":")[1], 16) == there and int(words[2].split(":")[1], 16) == here:
                return words[9]
    return None


def is_resting(door, client):
    """How the proxy's loop watches that socket: edge by edge while it is a session, by level while it rests."""
    inode = inode_of(client)
    for pid in door.children("proxy"):
        links = {}
        for fd in os.listdir("/proc/%d/fd" % pid):
            try:
                links[fd] = os.readlink("/proc/%d/fd/%s" % (pid, fd))
            except OSError:
                pass
        if "socket:[%s]" % inode not in links.values():
            continue
        mine = next(fd for fd, link in links.items() if link == "socket:[%s]" % inode)
        for fd, link in links.items():
            if "eventpoll" not in link:
                continue
            with open("/proc/%d/fdinfo/%s" % (pid, fd)) as f:
                for tfd, events in re.findall(r"tfd:\s*(\d+) events:\s*([0-9a-f]+)", f.read()):
                    if tfd == mine:
                        return not int(events, 16) & 0x80000000
    return None


def go_to_rest(door, client):
    poll(lambda: is_resting(door, client) is True, 5, "connection at rest")
