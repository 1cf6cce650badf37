"""A proxy that delays, cuts, and delivers late what a client has sent that is gone.

    proxy.py LISTEN:HOST:PORT ...

Listens on 127.0.0.1:LISTEN for each. Commands come by standard input, one a line; it ends
with that.

    delay I MS     what comes from now on is under way for MS, both ways
    cut I          all connections are reset
    late I MS      what a client sends is kept for MS. All clients are cut meanwhile
                   (kick I), and what they had sent is delivered after they are gone
    kick I         the clients' side is closed; what is under way to the master goes on
    hole I         nothing passes any more
    clear I        all of this is taken back; what is under way stays so
"""

import asyncio
import sys


class Mood:
    """What one proxy does to what passes."""

    def __init__(self):
        self.delay_s = self.late_s = 0.0
        self.open = asyncio.Event()
        self.open.set()
        self.links = set()


class Link:
    """One connection of a client, and the one to the master that belongs to it."""

    def __init__(self, mood, client, client_writer, master, master_writer):
        self.mood = mood
        self.client, self.client_writer = client, client_writer
        self.master, self.master_writer = master, master_writer

    async def run(self):
        self.mood.links.add(self)
        back = asyncio.create_task(self.carry(self.master, self.client_writer, False))
        try:
            # What the client has sent goes to the master, also when the client has gone.
            await self.carry(self.client, self.master_writer, True)
        finally:
            self.mood.links.discard(self)
            back.cancel()
            for writer in (self.client_writer, self.master_writer):
                writer.close()

    async def carry(self, reader, writer, to_master):
        """Reads at once, delivers in order when it is time."""
        queue = asyncio.Queue()
        deliver = asyncio.create_task(self.deliver(queue, writer))
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    data = await reader.read(65536)
                except OSError:
                    data = b""
                wait = self.mood.delay_s + (self.mood.late_s if to_master else 0.0)
                queue.put_nowait((loop.time() + wait, data))
                if not data:
                    break
            await deliver
        finally:
            deliver.cancel()
            if not to_master:
                self.client_writer.close()

    async def deliver(self, queue, writer):
        loop = asyncio.get_running_loop()
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self.mood.open.wait()
            if not data:
                return
            try:
                writer.write(data)
                await writer.drain()
            except OSError:
                return

    def kick(self):
        self.client_writer.close()

    def cut(self):
        for writer in (self.client_writer, self.master_writer):
            writer.transport.abort()


async def serve(mood, listen, host, port):
    async def connected(client, client_writer):
        try:
            master, master_writer = await asyncio.open_connection(host, port)
        except OSError:
            client_writer.close()
            return
        try:
            await Link(mood, client, client_writer, master, master_writer).run()
        except (OSError, asyncio.CancelledError):
            pass

    return await asyncio.start_server(connected, "127.0.0.1", listen)


def obey(moods, words):
    mood = moods[int(words[1])]
    if words[0] == "delay":
        mood.delay_s = int(words[2]) / 1000
    elif words[0] == "late":
        mood.late_s = int(words[2]) / 1000
    elif words[0] == "hole":
        mood.open.clear()
    elif words[0] == "cut":
        for link in list(mood.links):
            link.cut()
    elif words[0] == "kick":
        for link in list(mood.links):
            link.kick()
    elif words[0] == "clear":
        mood.delay_s = mood.late_s = 0.0
        mood.open.set()


async def main(arguments):
    moods, servers = [], []
    for argument in arguments:
        listen, host, port = argument.split(":")
        moods.append(Mood())
        servers.append(await serve(moods[-1], int(listen), host, int(port)))
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("ready", flush=True)
    while line := await commands.readline():
        obey(moods, line.decode().split())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
