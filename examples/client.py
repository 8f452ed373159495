"""A service that signs in, looks for another and talks to it; at the end it signs out."""

from callboard import Client

with Client("http://127.0.0.1:8500") as board:
    # Renews in the background for as long as the block runs, and deregisters at its end.
    with board.register("checkout-test", port=9000, ttl=15, tags=["example"]) as registration:
        print("signed in as", registration.service)
        peers = [board.pick("frontend") for _ in range(3)]  # from a live local copy
        print(*sorted(peer.address for peer in peers))
    print(len(board.instances("checkout-test")), "left")
