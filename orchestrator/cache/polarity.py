"""Words whose exchange turns a question round: opposites, rivals, and the light words that change nothing.

Rule 1: a pair is listed when one word in the other's place asks for another answer; grammar is not considered.
Rule 2: every word of a group excludes every other one of it; a word may be in several groups.
"""

from __future__ import annotations

from typing import Final


def word_list(text: str) -> list[str]:
    """Words that read better as a text than as a list of strings."""
    return text.split()


_GROUPS: Final = """
enable disable|enabled disabled|enabling disabling|on off|open close|opened closed|lock unlock|start stop|begin end
start end|start finish|first last|allow deny|allow forbid|allow block|permit prohibit|permit forbid|accept reject
accept decline|approve reject|approve deny|grant revoke|add remove|insert delete|create delete|create destroy
add subtract|attach detach|connect disconnect|mount unmount|install uninstall|install remove|load unload
import export|upload download|push pull|send receive|read write|encode decode|encrypt decrypt|compress decompress
compress extract|zip unzip|pack unpack|serialize deserialize|subscribe unsubscribe|follow unfollow|block unblock
mute unmute|hide show|hide unhide|show conceal|expand collapse|increase decrease|increase reduce|raise lower
rise fall|gain lose|grow shrink|maximum minimum|maximize minimize|max min|more less|more fewer|most least|high low
higher lower|highest lowest|large small|larger smaller|largest smallest|big small|bigger smaller|biggest smallest
long short|longer shorter|longest shortest|tall short|tallest shortest|wide narrow|thick thin|heavy light
heaviest lightest|fast slow|faster slower|fastest slowest|quick slow|early late|earliest latest|old new|older newer
oldest newest|old young|older younger|oldest youngest|near far|nearest farthest|close far|deep shallow|hot cold
hottest coldest|warm cool|wet dry|hard soft|hard easy|harder easier|hardest easiest|difficult easy|simple complex
simple complicated|strong weak|stronger weaker|strongest weakest|rich poor|richer poorer|cheap expensive
cheaper expensive|cheapest expensive|free paid|full empty|true false|right wrong|right left|correct incorrect
valid invalid|legal illegal|safe dangerous|safe unsafe|secure insecure|healthy unhealthy|possible impossible
necessary unnecessary|visible invisible|available unavailable|active inactive|online offline|public private
internal external|inside outside|inner outer|indoor outdoor|input output|inbound outbound|incoming outgoing
entry exit|enter exit|enter leave|join leave|arrive depart|arrival departure|login logout|sign-in sign-out|buy sell
buying selling|purchase sale|lend borrow|rent buy|earn spend|save spend|deposit withdraw|credit debit|profit loss
asset liability|assets liabilities|win lose|won lost|winner loser|pass fail|passed failed|success failure
succeed fail|good bad|better worse|best worst|positive negative|pros cons|advantage disadvantage
advantages disadvantages|benefit drawback|benefits drawbacks|benefits risks|strengths weaknesses|love hate
like dislike|like hate|happy sad|agree disagree|support oppose|for against|trust distrust|believe doubt
praise criticize|before after|previous next|past future|ancient modern|old-fashioned modern|above below|over under
up down|upstream downstream|upgrade downgrade|upper lower|top bottom|front back|forward backward|north south
east west|northern southern|eastern western|sunrise sunset|day night|morning evening|am pm|summer winter
ascending descending|horizontal vertical|parallel series|static dynamic|mutable immutable|sync async
synchronous asynchronous|blocking non-blocking|manual automatic|frontend backend|client server|source destination
sender receiver|producer consumer|parent child|master slave|primary secondary|leader follower|employer employee
employers employees|teacher student|doctor patient|landlord tenant|seller buyer|lender borrower|supply demand
question answer|problem solution|cause effect|cause prevent|causes effects|cause cure|causes symptoms
symptoms treatment|help hurt|help harm|build destroy|repair break|fix break|attack defend|offense defense|war peace
live die|life death|alive dead|birth death|born died|born die|marry divorce|marriage divorce|hire fire|hired fired
remember forget|find lose|keep discard|keep delete|include exclude|including excluding|with without|always never
everything nothing|everyone nobody|all none|all some|both neither|same different|equal unequal|similar different
male female|man woman|men women|boy girl|boys girls|he she|him her|his her|husband wife|boyfriend girlfriend
brother sister|father mother|dad mom|son daughter|king queen|uncle aunt|gay straight|gay lesbian|guy girl
guys girls|actor actress|introvert extrovert|introverts extroverts|optimist pessimist|theist atheist
liberal conservative|republican democrat|republicans democrats|capitalism socialism|capitalism communism
left-wing right-wing|acid base|anode cathode|proton electron|cation anion|endothermic exothermic|mitosis meiosis
artery vein|arteries veins|systolic diastolic|prefix suffix|singular plural|lose gain|losing gaining|lost gained
underweight overweight|thin fat|skinny fat|vegetarian non-vegetarian|veg non-veg|virus bacteria|debit credit
undergraduate graduate|undergraduate postgraduate|bachelor master|bachelors masters|ios android|android iphone
windows linux|windows mac|mac linux|python java|java javascript|mysql postgresql|aws azure|msw mba|ms mba
gmail yahoo|facebook instagram|facebook twitter|quora reddit|facebook quora|snapchat instagram|google bing
chrome firefox|monday tuesday wednesday thursday friday saturday sunday
january february march april may june july august september october november december|spring summer autumn winter
red orange yellow green blue purple black white pink brown grey|breakfast lunch dinner
hourly daily weekly monthly quarterly yearly annually|second minute hour day week month year decade century
seconds minutes hours days weeks months years decades centuries
km kilometers kilometres miles mile meters metres feet foot inches inch cm mm yards
kg kilograms pounds lbs lb grams ounces oz tons tonnes|celsius fahrenheit kelvin
dollars euros rupees pounds yen usd eur inr gbp jpy|liters litres gallons ml
bytes kilobytes megabytes gigabytes terabytes kb mb gb tb|mother father brother sister son daughter wife husband
north south east west
"""

NEGATORS: Final = frozenset(
    word_list(
        """
        not no never none nobody nothing nowhere neither nor without cannot can't cant don't dont doesn't doesnt didn't
        didnt isn't isnt aren't arent wasn't wasnt weren't werent won't wont wouldn't wouldnt shouldn't shouldnt
        couldn't couldnt haven't havent hasn't hasnt hadn't hadnt ain't except unless hardly barely lack lacks lacking
        avoid stop quit refuse fail fails failed unable
        """
    )
)

NEGATIVE_PREFIXES: Final = ("un", "in", "im", "il", "ir", "dis", "non", "non-", "anti", "de", "mis")


def _rivals() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for group in _GROUPS.replace("\n", "|").split("|"):
        words = group.split()
        for word in words:
            table.setdefault(word, set()).update(other for other in words if other != word)
    return {word: frozenset(others) for word, others in table.items()}


RIVALS: Final = _rivals()

# The first word stands for the others. Only words that may replace one another in any question.
_SAME: Final = """
movie movies film films|buy purchase purchasing purchased buying|site website websites sites
photo picture pictures photos pics|phone cellphone smartphone mobile|begin start starts starting started beginning
child kid kids children|quickly fast rapidly|large big huge|price cost costs prices|company firm companies
car automobile|doctor physician|teach educate|repair fix
delete remove erase|show display|choose select pick|parameter argument|folder directory
configuration config|application app apps|repository repo|database db|document doc docs|documentation docs
information info|maximum max|minimum min|versus vs|usa america|uk britain|pc computer|laptop notebook|deal handle cope
"""


def _synonyms() -> dict[str, str]:
    table: dict[str, str] = {}
    for group in _SAME.replace("\n", "|").split("|"):
        first, *others = group.split() or [""]
        table.update(dict.fromkeys(others, first))
    return table


SYNONYMS: Final = _synonyms()
