"""Prompts of the measurements over the wire: the same for every server, drawn from a seed.

A workload is a function from (load options, the client's random generator, a generator that starts alike for all
clients) to a conversation: it yields prompts (text, or lists of token ids) and is sent each answer's text.
"""

TOKEN_IDS = (1000, 49000)  # Ordinary text in the vocabulary of the model that is compared.

WORDS = """river stone bridge garden winter letter market captain village forest morning window candle harbour
teacher doctor farmer painter soldier brother sister mother father silver golden purple yellow orange little narrow
quiet heavy gentle distant modern ancient simple public private local summer autumn spring evening night water fire
earth metal glass paper cotton leather music dance story picture island mountain valley desert ocean planet engine
machine wheel hammer ladder basket bottle kitchen table chair mirror carpet corner street station airport hotel
school college museum theatre hospital office factory company country border capital council army police judge
lawyer writer reader singer player winner leader member partner neighbour stranger visitor student apple bread
butter cheese coffee sugar pepper onion potato tomato chicken fish horse rabbit tiger eagle spider
flower grass""".split()


def words(rng, count):
    return " ".join(rng.choice(WORDS) for _ in range(count))


def shared(options, rng, shared_rng):
    """Every prompt begins with the same long text and ends with words of its own."""
    prefix = words(shared_rng, options.prefix_words)
    for _ in range(options.requests):
        yield prefix + " " + words(rng, options.words)


def chat(options, rng, shared_rng):
    """Each prompt is all that was said so far, the server's answers included, and more words."""
    del shared_rng
    history = ""
    for _ in range(options.requests):
        history += (" " if history else "") + words(rng, options.words)
        answer = yield history
        history += answer


def fill(options, rng, shared_rng):
    """Prompts of random tokens that make sequences of options.tokens with their answers."""
    del shared_rng
    for _ in range(options.requests):
        yield [rng.randrange(*TOKEN_IDS) for _ in range(options.tokens - options.output)]


WORKLOADS = {"shared": shared, "chat": chat, "fill": fill}
